/** Hands each new entry of the audit trail to whoever listens, once, also across a loss of PostgreSQL. */
import { AuditFeed } from '../db/audit-feed.ts';
import type { AuditEntry } from '../db/audit-log.ts';
import type { Database } from '../db/database.ts';
import { SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** How soon it is looked again after a failure, or for a transaction that took an id and is still open. */
const LATER_MS = 1000;

export type EntryListener = (entry: AuditEntry) => void;

export class EventFeed implements AsyncDisposable {
  private readonly database: Database;
  private readonly log: Logger;
  private readonly feed = new AuditFeed();
  private readonly listeners = new Set<EntryListener>();
  private reading: Promise<void> | undefined;
  private again = false;
  private ended = false;
  private failing = false;
  private later: NodeJS.Timeout | undefined;

  constructor(database: Database, log: Logger) {
    this.database = database;
    this.log = log;
  }

  /** Returns what ends the subscription. */
  subscribe(listener: EntryListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Something may be new: looks, once for many calls. */
  look(): void {
    this.again = true;
    this.reading ??= this.read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ended = true;
    clearTimeout(this.later);
    await this.reading;
  }

  private async read(): Promise<void> {
    clearTimeout(this.later);
    try {
      await this.feed.begin(this.database);
      while (this.again && !this.ended) {
        this.again = false;
        const entries = await this.feed.next(this.database);
        for (const entry of entries) for (const listener of this.listeners) listener(entry);
        this.again ||= entries.length > 0; // there may be more than one batch
      }
      this.failing = false;
    } catch (thrown) {
      // Nothing is missed: the next look goes on from here.
      const error = SteepError.from(thrown);
      if (error.code !== 'NOT_CONNECTED' && !this.failing)
        this.log.warn('reading the audit trail failed', { error: error.message });
      this.failing = true;
    }
    this.reading = undefined;
    if ((this.failing || this.feed.waiting) && !this.ended)
      this.later = setTimeout(() => this.look(), LATER_MS);
  }
}
