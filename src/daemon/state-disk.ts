/** Says that state_dir takes no writes: to the log once when that begins and once when it ends, and as an issue meanwhile. */
import type { ClusterState } from '../cluster/state.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Issue } from '../operations/subject.ts';

export class StateDisk {
  private readonly file: { write: (state: ClusterState) => void };
  private readonly log: Logger;
  private refusal: SteepError | undefined;

  /** `file.write` throws system errors. */
  constructor(file: { write: (state: ClusterState) => void }, log: Logger) {
    this.file = file;
    this.log = log;
  }

  /** Throws FAILED, which whoever catches it need not tell. */
  readonly write = (state: ClusterState): void => {
    try {
      this.file.write(state);
    } catch (cause) {
      const error = new SteepError('FAILED', `state_dir cannot be written: ${messageOf(cause)}`, {
        hint: 'make room on its disk; until then this node neither votes nor changes anything',
        cause,
      });
      if (!this.refusal) this.log.error(error.message, { hint: error.hint });
      this.refusal = error;
      throw error;
    }
    if (this.refusal) this.log.info('state_dir can be written again');
    this.refusal = undefined;
  };

  /** After a refusal: writes what is in force again, to see whether the disk takes it by now. */
  look(rewrite: () => void): void {
    if (!this.refusal) return;
    try {
      rewrite();
    } catch (error) {
      if (!wasTold(error)) throw error;
    }
  }

  get issues(): Issue[] {
    if (!this.refusal) return [];
    return [{ severity: 'error', message: this.refusal.message, hint: this.refusal.hint ?? null }];
  }
}

/** Whether this was told already. */
export function wasTold(error: unknown): boolean {
  return error instanceof SteepError && error.code === 'FAILED';
}
