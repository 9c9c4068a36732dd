/** Installs and upgrades the extension, or the ordinary schema that stands in for it. */
import postgres from 'postgres';
import { SteepError } from '../lib/errors.ts';
import { fromPostgres } from './errors.ts';
import { compareVersions, SCHEMA_VERSION_KEY, schemaScript, schemaVersion } from './extension-files.ts';
import type { Session } from './session.ts';
import type { Target } from './target.ts';

/** What a database has: nothing, the extension, our schema without the extension, or somebody else's schema. */
export type Installed =
  | { kind: 'nothing' }
  | { kind: 'extension' | 'schema'; version: string }
  | { kind: 'foreign schema' };

export type Outcome = 'created' | 'updated' | 'unchanged';

export interface ServerFacts {
  version: string;
  installed: Installed;
  /** The version that CREATE EXTENSION would install; null when the server has no such files. */
  available: string | null;
  /** Where the server looks for extensions' files; null when this role may not know. */
  sharedir: string | null;
  /** extension_control_path; null when this role may not know. */
  controlPath: string | null;
}

/** Looks at a server before anything is changed. Throws FAILED before PostgreSQL 18. */
export async function examine(session: Session): Promise<ServerFacts> {
  const [server] = await session.query(
    (sql) => sql<{ number: number; version: string }[]>`
      SELECT current_setting('server_version_num')::int AS number,
             split_part(current_setting('server_version'), ' ', 1) AS version`,
  );
  if (!server || server.number < 180000)
    throw new SteepError('FAILED', `PostgreSQL 18 or later is required (server: ${server?.version})`);
  const [facts] = await session.query(
    (sql) => sql<
      {
        extension: string | null;
        schema: boolean;
        ours: boolean;
        available: string | null;
        path: string | null;
        knows: boolean;
      }[]
    >`
      SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'steep_repl') AS extension,
             to_regnamespace('steep_repl') IS NOT NULL AS schema,
             to_regclass('steep_repl.coordinator_state') IS NOT NULL AS ours,
             (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'steep_repl') AS available,
             (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'extension_control_path') AS path,
             has_function_privilege('pg_catalog.pg_config()', 'EXECUTE') AS knows`,
  );
  const [place] = facts?.knows
    ? await session.query(
        (sql) =>
          sql<{ setting: string }[]>`SELECT setting FROM pg_catalog.pg_config() WHERE name = 'SHAREDIR'`,
      )
    : [];
  return {
    version: server.version,
    installed: await installed(
      session,
      facts?.extension ?? null,
      facts?.schema ?? false,
      facts?.ours ?? false,
    ),
    available: facts?.available ?? null,
    sharedir: place?.setting ?? null,
    controlPath: facts?.path ?? null,
  };
}

async function installed(
  session: Session,
  extension: string | null,
  schema: boolean,
  ours: boolean,
): Promise<Installed> {
  if (extension !== null) return { kind: 'extension', version: extension };
  if (!schema) return { kind: 'nothing' };
  if (ours) await refuseOfLesserRole(session);
  const [row] = ours
    ? await session.query(
        (sql) => sql<{ version: string }[]>`
          SELECT value #>> '{}' AS version FROM steep_repl.coordinator_state WHERE key = ${SCHEMA_VERSION_KEY}`,
      )
    : [];
  return row ? { kind: 'schema', version: row.version } : { kind: 'foreign schema' };
}

/**
 * To read a table that is none, or to upgrade what is there, runs what its owner put there: that must not be as
 * somebody who may more. Throws CONFLICT.
 */
async function refuseOfLesserRole(session: Session): Promise<void> {
  const [owner] = await session.query(
    (sql) => sql<{ name: string; trusted: boolean }[]>`
      SELECT rolname AS name, rolsuper OR rolname = current_user AS trusted
        FROM pg_catalog.pg_namespace JOIN pg_catalog.pg_roles ON pg_roles.oid = nspowner
       WHERE nspname = 'steep_repl'`,
  );
  if (owner?.trusted === false)
    throw new SteepError(
      'CONFLICT',
      `schema steep_repl belongs to role ${owner.name}: to look into it would run what that role put there`,
      {
        hint: `run this as that role:  PGUSER=${owner.name}`,
      },
    );
}

/** CREATE EXTENSION or ALTER EXTENSION UPDATE, whichever is needed. Throws as fromPostgres, CONFLICT and FAILED. */
export async function installExtension(
  session: Session,
  target: Target,
  { installed: present }: ServerFacts,
): Promise<Outcome> {
  if (present.kind === 'schema')
    throw new SteepError('CONFLICT', 'schema steep_repl was made without the extension', {
      hint: 'steep-repl init-extension --no-files keeps it up to date',
    });
  const step = nextStep(present);
  if (step === 'unchanged') return step;
  const statement =
    step === 'created'
      ? `CREATE EXTENSION steep_repl VERSION '${schemaVersion}'`
      : `ALTER EXTENSION steep_repl UPDATE TO '${schemaVersion}'`;
  await session
    .query((sql) => sql.unsafe(statement))
    .catch((error: unknown) => {
      throw explain(error, target);
    });
  return step;
}

/** The same objects as an ordinary schema, for servers whose disk cannot be reached. Throws as installExtension. */
export async function installSchema(
  session: Session,
  target: Target,
  { installed: present }: ServerFacts,
): Promise<Outcome> {
  if (present.kind === 'extension')
    throw new SteepError('CONFLICT', `this database has the extension steep_repl ${present.version}`, {
      hint: 'steep-repl init-extension, without --no-files',
    });
  const step = nextStep(present);
  if (step === 'unchanged') return step;
  const script = schemaScript(present.kind === 'schema' ? present.version : undefined);
  await session
    .query((sql) => sql.unsafe(script))
    .catch((error: unknown) => {
      throw explain(error, target);
    });
  return step;
}

function nextStep(present: Installed): Outcome {
  if (present.kind === 'nothing') return 'created';
  if (present.kind === 'foreign schema')
    throw new SteepError('CONFLICT', 'a schema steep_repl exists that steep-repl did not make', {
      hint: 'rename it, or use another database',
    });
  const order = compareVersions(present.version, schemaVersion);
  if (order > 0)
    throw new SteepError(
      'FAILED',
      `steep_repl is ${present.version}, newer than this program knows (${schemaVersion})`,
      {
        hint: 'install the newer steep-repl on this host',
      },
    );
  return order === 0 ? 'unchanged' : 'updated';
}

/** Gives a role what the daemon needs, and no more. Throws as fromPostgres. */
export async function grantDaemon(session: Session, target: Target, role: string): Promise<void> {
  await session
    .query((sql) => sql`SELECT steep_repl.grant_daemon(${role})`)
    .catch((error: unknown) => {
      throw explain(error, target);
    });
}

function explain(error: unknown, target: Target): SteepError {
  if (!(error instanceof postgres.PostgresError)) return fromPostgres(error, target);
  const message = [error.message, error.detail].filter(Boolean).join(': ');
  const fail = (code: 'PERMISSION_DENIED' | 'FAILED', hint: string | undefined): SteepError =>
    new SteepError(code, message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  switch (error.code) {
    case '42501': // insufficient_privilege
      return fail(
        'PERMISSION_DENIED',
        `as a superuser:  GRANT CREATE ON DATABASE "${target.database}" TO "${target.user}";  or run this with PGUSER set to the owner`,
      );
    case '25006': // read_only_sql_transaction
      return fail('FAILED', 'connect to the primary');
    default:
      return fail('FAILED', error.hint);
  }
}
