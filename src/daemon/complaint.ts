/** What keeps a part from its work although PostgreSQL is there: logged once, not at every retry, and an issue until it works again. */
import { SteepError } from '../lib/errors.ts';
import type { Fields, Logger } from '../lib/log.ts';
import type { Issue } from '../operations/subject.ts';

export class Complaint {
  private readonly what: string;
  private readonly log: Logger;
  private readonly level: 'warn' | 'error';
  private error: SteepError | undefined;

  /** `what` cannot be done, in words that the log and the issue begin with. */
  constructor(what: string, log: Logger, level: 'warn' | 'error' = 'warn') {
    this.what = what;
    this.log = log;
    this.level = level;
  }

  /** A loss of PostgreSQL is left to the connection to tell. */
  about(thrown: unknown, fields: Fields = {}): void {
    const error = SteepError.from(thrown);
    if (error.code === 'NOT_CONNECTED') return;
    if (error.message !== this.error?.message)
      this.log[this.level](this.what, { error: error.message, ...fields });
    this.error = error;
  }

  settled(): void {
    this.error = undefined;
  }

  get issues(): Issue[] {
    if (this.error === undefined) return [];
    return [
      {
        severity: 'warning',
        message: `${this.what}: ${this.error.message}`,
        hint: this.error.hint ?? null,
      },
    ];
  }
}
