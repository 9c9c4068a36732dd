/** The daemon's own entries in the audit trail: into the outbox at once, into PostgreSQL as soon as it is there. */
import { type DaemonEvent, type OwedEvent, recordEvents } from '../db/audit-log.ts';
import type { Database } from '../db/database.ts';
import { SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { sleep } from '../lib/sleep.ts';
import type { Complaint } from './complaint.ts';
import { startLoop } from './loop.ts';
import type { Outbox } from './outbox.ts';

export interface AuditTrail extends AsyncDisposable {
  /** Never throws: what cannot be kept on disk is logged, and written if PostgreSQL comes back in this run. */
  add(event: DaemonEvent, occurredAt?: Date): void;
  /** Writes what is owed, and gives up waiting after `timeout` milliseconds. */
  flush(timeout: number): Promise<void>;
}

interface AuditTrailOptions {
  outbox: Outbox;
  database: Database;
  log: Logger;
  complaint: Complaint;
  /** Told how many events PostgreSQL took. */
  onWritten: (count: number) => void;
}

const RETRY_MS = 5000;

export function startAuditTrail({
  outbox,
  database,
  log,
  complaint,
  onWritten,
}: AuditTrailOptions): AuditTrail {
  const store = async (events: OwedEvent[]): Promise<void> => {
    try {
      await recordEvents(database, events);
      onWritten(events.length);
    } catch (thrown) {
      const error = SteepError.from(thrown);
      if (error.code !== 'INVALID_REQUEST' && error.code !== 'CONFLICT') throw error;
      // One event that PostgreSQL will never take must not hold up the others for ever.
      const [event] = events;
      if (events.length > 1) for (const single of events) await store([single]);
      else
        log.error('PostgreSQL refuses this audit event; it stands only here', {
          event,
          error: error.message,
        });
    }
  };
  const drain = async (): Promise<void> => {
    if (outbox.empty || database.state.kind !== 'connected') return;
    try {
      await outbox.drain(store);
      complaint.settled();
    } catch (thrown) {
      complaint.about(thrown, { events: outbox.size });
    }
  };
  const loop = startLoop(drain, () => RETRY_MS);
  database.subscribe((state) => {
    if (state.kind === 'connected') loop.wake();
  });
  return {
    add(event, occurredAt) {
      try {
        outbox.add(event, occurredAt);
      } catch (error) {
        log.error('an audit event could not be written to state_dir', {
          event,
          error: SteepError.from(error).message,
        });
      }
      loop.wake();
    },
    async flush(timeout) {
      const waiting = new AbortController();
      // The loop may be in the middle of a batch: that one is waited for too.
      await Promise.race([loop[Symbol.asyncDispose]().then(drain), sleep(timeout, waiting.signal)]);
      waiting.abort();
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}
