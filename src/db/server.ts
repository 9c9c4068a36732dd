/** Whether a server can be used: its version, its extension, our rights, and that no other daemon holds it. */
import { compareVersions, schemaVersion } from './extension-files.ts';
import { type Away, hintFor } from './errors.ts';
import type { Session } from './session.ts';
import type { Target } from './target.ts';

const MINIMUM = 180000;

/** First half: `step`; second: the purpose. Advisory locks belong to one database. */
const LOCK = { key: 0x73746570, daemon: 1 };

/** `18.4` of a server that can be used, or why it cannot. Throws what Session.query throws. */
export async function inspect(session: Session, target: Target): Promise<{ version: string } | Away> {
  // Understood by every server since 9.1: nothing else may be asked before the version is known.
  const [server] = await session.query(
    (sql) => sql<
      { number: number; version: string; recovering: boolean; readOnly: boolean; schema: boolean }[]
    >`
      SELECT current_setting('server_version_num')::int AS number,
             split_part(current_setting('server_version'), ' ', 1) AS version,
             pg_catalog.pg_is_in_recovery() AS recovering,
             current_setting('default_transaction_read_only')::bool AS "readOnly",
             EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'steep_repl') AS schema`,
    target.connectTimeout,
  );
  const away = (reason: Away['reason'], message: string): Away => ({
    reason,
    message,
    hint: hintFor(reason, target),
  });
  if (!server) return away('unreachable', 'the server answered nothing');
  const { number, version } = server;
  if (number < MINIMUM) return away('too_old', `PostgreSQL 18 or later is required (server: ${version})`);
  if (server.recovering) return away('read_only', 'the server is a standby: it takes no writes');
  if (server.readOnly)
    return away('read_only', 'default_transaction_read_only is on: the server takes no writes');
  if (!server.schema)
    return away('no_extension', `extension steep_repl is not installed in database ${target.database}`);
  const installed = await installedVersion(session, target);
  if (installed === undefined) return away('no_rights', `role ${target.user} may not use schema steep_repl`);
  const order = compareVersions(installed, schemaVersion);
  if (order > 0)
    return away(
      'schema_too_new',
      `extension steep_repl is ${installed}; this program knows up to ${schemaVersion}`,
    );
  if (order < 0)
    return away(
      'schema_too_old',
      `extension steep_repl is ${installed}; this program needs ${schemaVersion}`,
    );
  return { version };
}

/** What `grant_daemon` lets a role do. */
const FUNCTIONS = [
  'set_acting_for',
  'daemon_register_node',
  'set_node_status',
  'remove_node',
  'set_coordinator',
  'set_daemon_state',
  'record_events',
  'prune_audit_log',
];

/** The version of the schema, whether made by CREATE EXTENSION or without; undefined without rights to all of it. */
async function installedVersion(session: Session, { connectTimeout }: Target): Promise<string | undefined> {
  const [rights] = await session.query(
    (sql) => sql<{ usable: boolean }[]>`
      SELECT has_schema_privilege('steep_repl', 'USAGE') AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_proc
                WHERE pronamespace = 'steep_repl'::regnamespace
                  AND proname IN (SELECT jsonb_array_elements_text(${JSON.stringify(FUNCTIONS)}::text::jsonb))
                  AND NOT has_function_privilege(oid, 'EXECUTE')
             ) AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_class
                WHERE relnamespace = 'steep_repl'::regnamespace
                  AND relname IN ('nodes', 'coordinator_state', 'audit_log')
                  AND NOT has_table_privilege(oid, 'SELECT')
             ) AS usable`,
    connectTimeout,
  );
  if (!rights?.usable) return undefined;
  const [row] = await session.query(
    (sql) => sql<{ version: string }[]>`SELECT steep_repl.version() AS version`,
    connectTimeout,
  );
  return row?.version;
}

/** Takes the database for this session's life: undefined, or who holds it already. */
export async function takeDatabase(
  session: Session,
  { connectTimeout }: Target,
): Promise<string | undefined> {
  const [lock] = await session.query(
    (sql) =>
      sql<{ taken: boolean }[]>`SELECT pg_try_advisory_lock(${LOCK.key}::int, ${LOCK.daemon}::int) AS taken`,
    connectTimeout,
  );
  if (lock?.taken) return undefined;
  const [holder] = await session.query(
    (sql) => sql<{ name: string | null; address: string | null; port: number | null; pid: number }[]>`
      SELECT nullif(a.application_name, '') AS name, host(a.client_addr) AS address, a.client_port AS port, l.pid
        FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
       WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
         AND l.classid = ${LOCK.key}::oid AND l.objid = ${LOCK.daemon}::oid`,
    connectTimeout,
  );
  if (!holder) return 'another session (it just ended)';
  const where = whereabouts(holder);
  return `${holder.name ?? 'a session'} from ${where}, PostgreSQL pid ${holder.pid}`;
}

/** A session over the Unix socket has port -1; of another role's session everything is hidden. */
function whereabouts({ address, port }: { address: string | null; port: number | null }): string {
  if (address !== null) return `${address}:${port}`;
  return port === null ? 'an address that this role may not see' : 'this host';
}

/** One probe: that the server answers, still takes writes, and still has the extension. */
export async function probe(session: Session): Promise<{ readOnly: boolean }> {
  const [row] = await session.query(
    (sql) => sql<{ readOnly: boolean }[]>`
      SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS "readOnly",
             steep_repl.version()`,
  );
  return { readOnly: row?.readOnly ?? false };
}
