/** The boundary where errors of PostgreSQL and of its socket become ours. */
import postgres from 'postgres';
import { codeOf, messageOf, SteepError, type ErrorCode } from '../lib/errors.ts';
import { describeTarget, type Target } from './target.ts';

/** Why PostgreSQL cannot be used; the daemon stays up, shows it and tries again. */
export type AwayReason =
  | 'unreachable' // nobody answers, or the connection broke
  | 'starting' // starting up, shutting down or recovering
  | 'full' // no connection slot is free
  | 'refused' // password, role or pg_hba.conf
  | 'tls' // sslmode and the server do not fit
  | 'no_database'
  | 'no_rights'
  | 'no_extension'
  | 'schema_too_old' // the extension must be upgraded
  | 'schema_too_new' // this program must be upgraded
  | 'too_old' // PostgreSQL before 18
  | 'read_only' // a standby, or default_transaction_read_only
  | 'held'; // another daemon looks after this database

export interface Away {
  reason: AwayReason;
  message: string;
  hint: string;
}

const bySqlState: Record<string, AwayReason> = {
  '57P01': 'unreachable', // admin_shutdown
  '57P02': 'unreachable', // crash_shutdown
  '57P03': 'starting', // cannot_connect_now
  '57P05': 'unreachable', // idle_session_timeout
  '53300': 'full', // too_many_connections
  '28P01': 'refused', // invalid_password
  '28000': 'refused', // invalid_authorization_specification
  '3D000': 'no_database', // invalid_catalog_name
  '42501': 'no_rights', // insufficient_privilege
  '3F000': 'no_extension', // invalid_schema_name
  '42P01': 'no_extension', // undefined_table
  '42883': 'no_extension', // undefined_function
  '25006': 'read_only', // read_only_sql_transaction
};

/** What system errors mean, in words that do not change from attempt to attempt. */
const bySystemCode: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ENOENT: 'no such socket',
  EACCES: 'no right to use the socket',
  EPERM: 'no right to use the socket',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'the host name cannot be looked up now',
  ECONNRESET: 'the server closed the connection',
  EPIPE: 'the server closed the connection',
  CONNECTION_CLOSED: 'the server closed the connection',
  CONNECTION_ENDED: 'the server closed the connection',
  CONNECTION_DESTROYED: 'the server closed the connection',
};

/** Explains a failed attempt to connect. */
export function awayFrom(error: unknown, target: Target): Away {
  if (error instanceof postgres.PostgresError) {
    const reason = bySqlState[error.code] ?? 'unreachable';
    return { reason, message: error.message, hint: hintFor(reason, target) };
  }
  if (error instanceof SteepError) {
    const reason = reasonOf(error);
    return { reason, message: error.message, hint: error.hint ?? hintFor(reason, target) };
  }
  const words = bySystemCode[codeOf(error) ?? ''] ?? messageOf(error);
  return { reason: 'unreachable', message: words, hint: hintFor('unreachable', target) };
}

function reasonOf({ code }: SteepError): AwayReason {
  if (code === 'PERMISSION_DENIED') return 'refused';
  return code === 'CONFIG_INVALID' || code === 'CANNOT_CONNECT' ? 'tls' : 'unreachable';
}

/** What to do about it: a sentence or a command. */
export function hintFor(reason: AwayReason, target: Target): string {
  const { host, port, database, user } = target;
  switch (reason) {
    case 'unreachable':
      return `is PostgreSQL running?  pg_isready -h ${host} -p ${port}`;
    case 'starting':
      return 'wait, or look at the log of PostgreSQL';
    case 'full':
      return 'end idle sessions, or raise max_connections';
    case 'refused':
      return `check postgresql.user (${user}), its password (PGPASSWORD or password_command) and pg_hba.conf`;
    case 'tls':
      return `check postgresql.sslmode (${target.sslmode}) and sslrootcert`;
    case 'no_database':
      return `createdb -h ${host} -p ${port} ${database}, or mend postgresql.database`;
    case 'no_rights':
      return `as the extension's owner:  steep-repl init-extension --grant ${user}`;
    case 'no_extension':
      return 'steep-repl init-extension';
    case 'schema_too_old':
      return 'steep-repl init-extension';
    case 'schema_too_new':
      return 'install the newer steep-repl on this host';
    case 'too_old':
      return 'upgrade this server to PostgreSQL 18 or later';
    case 'read_only':
      return 'steep-repl needs the primary, and default_transaction_read_only off';
    case 'held':
      return 'one daemon a database: stop the other one, or mend postgresql.database';
    default:
      return reason satisfies never;
  }
}

const codeBySqlStateClass: Record<string, ErrorCode> = {
  '08': 'NOT_CONNECTED', // connection exception
  '57': 'NOT_CONNECTED', // operator intervention
  '23': 'CONFLICT', // integrity constraint violation
  '22': 'INVALID_REQUEST', // data exception
};

const PART_IS_MISSING =
  'a part of schema steep_repl may be missing:  steep-repl init-extension --print  has the SQL that makes it';

/**
 * Explains a failed statement. What is no error of PostgreSQL or its socket stays a defect. `usable`: the server was
 * looked at afterwards and is as it should be, so this concerns the statement alone.
 */
export function fromPostgres(error: unknown, target: Target, usable = false): SteepError {
  if (error instanceof SteepError) return error;
  if (error instanceof postgres.PostgresError) {
    const reason = bySqlState[error.code];
    // A full disk, say, is no such reason: the server stays connected, so whoever meets it has to tell.
    const stays = reason === undefined || usable;
    const other = stays ? codeBySqlStateClass[error.code.slice(0, 2)] : 'NOT_CONNECTED';
    const code = error.code === '57014' ? 'TIMEOUT' : (other ?? 'FAILED');
    // The server's own hint for a missing function is to cast its arguments.
    const known = usable && reason === 'no_extension' ? PART_IS_MISSING : error.hint;
    const hint = known ?? (reason === undefined ? undefined : hintFor(reason, target));
    return new SteepError(code, error.message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  }
  const words = bySystemCode[codeOf(error) ?? ''];
  if (words === undefined) return SteepError.from(error);
  return new SteepError('NOT_CONNECTED', `${describeTarget(target)}: ${words}`, {
    cause: error,
    hint: hintFor('unreachable', target),
  });
}

/** Why this error of a statement means that PostgreSQL cannot be used any more; undefined if it can. */
export function lossFrom(error: unknown, target: Target): Away | undefined {
  if (!(error instanceof postgres.PostgresError)) return undefined;
  const reason = bySqlState[error.code];
  return reason === undefined ? undefined : { reason, message: error.message, hint: hintFor(reason, target) };
}
