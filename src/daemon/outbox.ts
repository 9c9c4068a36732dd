/**
 * What the daemon owes the audit trail. Every event goes into a file first and leaves it when PostgreSQL has
 * stored it, so it is neither lost by a stop during an outage nor, thanks to its id, written twice.
 *
 * The file holds one JSON object a line. A torn last line is an event whose `add` never returned.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync, readFileSync } from 'node:fs';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import type { DaemonEvent, OwedEvent } from '../db/audit-log.ts';

const BATCH = 100;

export interface OutboxOptions {
  file: string;
  /** How many events are kept; later ones are counted and audited as one `audit.overflowed`. */
  limit?: number;
  nodeId: string;
  now?: () => Date;
}

export class Outbox {
  private readonly file: string;
  private readonly limit: number;
  private readonly nodeId: string;
  private readonly now: () => Date;
  private events: OwedEvent[];
  /** Handed to `store`, which has not returned yet: a change of them would be lost. */
  private sending: readonly OwedEvent[] = [];
  /** The file may end in a part of a line, and lack events. */
  private torn = false;

  /** Reads what an earlier run still owes. Throws system errors. */
  constructor(options: OutboxOptions) {
    this.file = options.file;
    this.limit = options.limit ?? 1000;
    this.nodeId = options.nodeId;
    this.now = options.now ?? (() => new Date());
    this.events = existsSync(this.file) ? readFileSync(this.file, 'utf8').split('\n').flatMap(parseLine) : [];
    // A torn line must not swallow the next event that is appended to it.
    this.rewrite();
  }

  get size(): number {
    return this.events.length;
  }

  /** Whether nothing is owed, and the file says so too. */
  get empty(): boolean {
    return this.events.length === 0 && !this.torn;
  }

  /**
   * On disk when this returns. `occurredAt` is now unless it happened earlier.
   * Throws system errors (a full disk); the event is then kept in memory only.
   */
  add(event: DaemonEvent, occurredAt = this.now()): void {
    const owed: OwedEvent = { event_id: randomUUID(), occurred_at: occurredAt.toISOString(), ...event };
    if (this.events.length >= this.limit) {
      this.countOverflow(owed);
      this.rewrite();
      return;
    }
    this.events.push(owed);
    if (this.torn) {
      this.rewrite();
      return;
    }
    this.torn = true;
    const fd = openSync(this.file, 'a', 0o600);
    try {
      appendFileSync(fd, `${JSON.stringify(owed)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    this.torn = false;
  }

  /** The last place is kept for one event that counts those for which there was no room. */
  private countOverflow(dropped: OwedEvent): void {
    const last = this.events.at(-1);
    if (last?.action === 'audit.overflowed' && !this.sending.includes(last)) {
      last.new_value = { dropped: Number(last.new_value?.['dropped'] ?? 0) + 1, last: dropped.occurred_at };
      return;
    }
    this.events.push({
      event_id: randomUUID(),
      occurred_at: dropped.occurred_at,
      action: 'audit.overflowed',
      target_type: 'daemon',
      target_id: this.nodeId,
      new_value: { dropped: 1, last: dropped.occurred_at },
      success: false,
    });
  }

  /** Hands the oldest events to `store`, a batch at a time, until none is left. Throws what `store` throws. */
  async drain(store: (events: OwedEvent[]) => Promise<void>): Promise<void> {
    while (this.events.length > 0) {
      const batch = this.events.slice(0, BATCH);
      this.sending = batch;
      try {
        await store(batch);
      } finally {
        this.sending = [];
      }
      const stored = new Set(batch.map((event) => event.event_id));
      this.events = this.events.filter((event) => !stored.has(event.event_id));
      this.rewrite();
    }
    if (this.torn) this.rewrite();
  }

  private rewrite(): void {
    this.torn = true;
    writeFileAtomic(this.file, this.events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    this.torn = false;
  }
}

function parseLine(line: string): OwedEvent[] {
  try {
    const event = JSON.parse(line) as OwedEvent;
    return typeof event.event_id === 'string' ? [event] : [];
  } catch {
    return [];
  }
}
