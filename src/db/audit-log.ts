/** Table `audit_log`: what the daemon itself writes, and retention. Row changes are audited by triggers. */
import type { Database } from './database.ts';

export type DaemonAction =
  | 'daemon.started'
  | 'daemon.stopped'
  | 'daemon.reloaded'
  | 'daemon.error'
  | 'config.changed'
  | 'postgresql.lost'
  | 'postgresql.restored'
  | 'rpc.refused'
  | 'certificate.changed'
  | 'audit.pruned'
  | 'audit.overflowed';

export interface DaemonEvent {
  action: DaemonAction;
  target_type: 'node' | 'state' | 'daemon';
  target_id: string;
  old_value?: Record<string, unknown>;
  new_value?: Record<string, unknown>;
  success?: boolean;
  error_message?: string;
  client_ip?: string;
}

export interface OwedEvent extends DaemonEvent {
  /** Makes a second delivery of the same event recognisable. */
  event_id: string;
  /** RFC 3339: when it happened, which may be long before it is written. */
  occurred_at: string;
}

/** Writes events that are not yet there, in one transaction. Throws what Database.query throws. */
export async function recordEvents(database: Database, events: OwedEvent[]): Promise<void> {
  await database.query((sql) => sql`SELECT steep_repl.record_events(${JSON.stringify(events)}::text::jsonb)`);
}

/** Deletes one batch of rows older than `retention` milliseconds; how many they were. */
export async function pruneBatch(database: Database, retention: number, batch: number): Promise<number> {
  const [row] = await database.query(
    (sql) => sql<{ deleted: number }[]>`
      SELECT steep_repl.prune_audit_log(make_interval(secs => ${retention / 1000}), ${batch})::int AS deleted`,
  );
  return row?.deleted ?? 0;
}
