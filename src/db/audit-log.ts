/** Table `audit_log`: what the daemon itself writes, and retention. Row changes are audited by triggers. */
import type { Database } from './database.ts';
import type { Sql } from './session.ts';

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
  /** In whose name: the OS user of an IPC client. */
  acting_for?: string;
}

export interface OwedEvent extends DaemonEvent {
  /** Makes a second delivery of the same event recognisable. */
  event_id: string;
  /** RFC 3339: when it happened, which may be long before it is written. */
  occurred_at: string;
}

/** Writes events that are not yet there, those of one person in one transaction. Throws what Database.query throws. */
export async function recordEvents(database: Database, events: OwedEvent[]): Promise<void> {
  const byPerson = Map.groupBy(events, (event) => event.acting_for ?? null);
  for (const [person, own] of byPerson)
    await database.query(
      (sql) =>
        sql`SELECT steep_repl.record_events(${JSON.stringify(own, storable)}::text::jsonb, ${person}::text)`,
    );
}

/** PostgreSQL has no text with U+0000 or half a character in it, and what a stranger sent must not go unrecorded. */
function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\uFFFD').toWellFormed() : value;
}

/** Deletes one batch of rows older than `retention` milliseconds; how many they were. */
export async function pruneBatch(database: Database, retention: number, batch: number): Promise<number> {
  const [row] = await database.query(
    (sql) => sql<{ deleted: number }[]>`
      SELECT steep_repl.prune_audit_log(make_interval(secs => ${retention / 1000}), ${batch})::int AS deleted`,
  );
  return row?.deleted ?? 0;
}

/** A row of the trail as it is shown. `occurred_at` is RFC 3339 in UTC with microseconds. */
export interface AuditEntry {
  id: string;
  occurred_at: string;
  action: string;
  actor: string;
  target_type: string | null;
  target_id: string | null;
  old_value: unknown;
  new_value: unknown;
  client_ip: string | null;
  success: boolean;
  error_message: string | null;
}

export interface AuditFilter {
  actions?: string[] | undefined;
  actors?: string[] | undefined;
  target_type?: string | undefined;
  target_id?: string | undefined;
  success?: boolean | undefined;
  /** RFC 3339; `since` counts itself, `until` does not. */
  since?: string | undefined;
  until?: string | undefined;
}

/** Where a page ended: the next one goes on below. */
export interface AuditPosition {
  occurred_at: string;
  id: string;
}

export interface AuditPage {
  entries: AuditEntry[];
  has_more: boolean;
}

/** Counting stops here: a trail of millions would make every question slow. */
export const COUNT_LIMIT = 10_000;

/** The columns of an entry, for `a`, a row of audit_log. */
export function entryColumns(sql: Sql): ReturnType<Sql> {
  return sql`a.id, to_char(a.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at,
             a.action, a.actor, a.target_type, a.target_id, a.old_value, a.new_value,
             host(a.client_ip) AS client_ip, a.success, a.error_message`;
}

function conditions(sql: Sql, filter: AuditFilter): ReturnType<Sql> {
  const among = (values: string[]): ReturnType<Sql> =>
    sql`(SELECT jsonb_array_elements_text(${JSON.stringify(values)}::text::jsonb))`;
  return sql`true
    ${filter.actions?.length ? sql`AND a.action IN ${among(filter.actions)}` : sql``}
    ${filter.actors?.length ? sql`AND a.actor IN ${among(filter.actors)}` : sql``}
    ${filter.target_type === undefined ? sql`` : sql`AND a.target_type = ${filter.target_type}`}
    ${filter.target_id === undefined ? sql`` : sql`AND a.target_id = ${filter.target_id}`}
    ${filter.success === undefined ? sql`` : sql`AND a.success = ${filter.success}`}
    ${filter.since === undefined ? sql`` : sql`AND a.occurred_at >= ${filter.since}::text::timestamptz`}
    ${filter.until === undefined ? sql`` : sql`AND a.occurred_at < ${filter.until}::text::timestamptz`}`;
}

/** Entries that fit the filter, newest first, below a position or after an offset. */
export async function queryAudit(
  database: Database,
  filter: AuditFilter,
  page: { limit: number; offset: number; below?: AuditPosition | undefined },
): Promise<AuditPage> {
  const { limit, offset, below } = page;
  const rows = await database.query(
    (sql) => sql<AuditEntry[]>`
      SELECT ${entryColumns(sql)} FROM steep_repl.audit_log a
       WHERE ${conditions(sql, filter)}
             ${below ? sql`AND (a.occurred_at, a.id) < (${below.occurred_at}::text::timestamptz, ${below.id}::text::bigint)` : sql``}
       ORDER BY a.occurred_at DESC, a.id DESC LIMIT ${limit + 1} OFFSET ${offset}`,
  );
  return { entries: rows.slice(0, limit), has_more: rows.length > limit };
}

/** How many entries fit the filter, at most COUNT_LIMIT + 1. */
export async function countAudit(database: Database, filter: AuditFilter): Promise<number> {
  const [row] = await database.query(
    (sql) => sql<{ total: number }[]>`
      SELECT count(*)::int AS total
        FROM (SELECT FROM steep_repl.audit_log a WHERE ${conditions(sql, filter)} LIMIT ${COUNT_LIMIT + 1}) counted`,
  );
  return row?.total ?? 0;
}
