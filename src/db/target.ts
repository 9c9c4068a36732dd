import type { Config } from '../config/schema.ts';

/** Which PostgreSQL, as whom, and how patiently. */
export interface Target {
  /** A host name or address; a path that starts with `/` is a folder with a Unix socket. */
  host: string;
  port: number;
  database: string;
  user: string;
  /** A fixed password (PGPASSWORD); `passwordCommand` wins over it. */
  password: string | undefined;
  /** Program and arguments, run without a shell for each new connection. */
  passwordCommand: string[] | undefined;
  sslmode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  sslrootcert: string | undefined;
  sslcert: string | undefined;
  sslkey: string | undefined;
  /** Milliseconds for name lookup, TCP, TLS, password and authentication together. */
  connectTimeout: number;
  /** Milliseconds after which the server ends a statement; we wait a little longer before we give up. */
  statementTimeout: number;
  /** As the server shows it. */
  applicationName: string;
}

/** A server keeps no more of a name (NAMEDATALEN); a node id may have as many bytes itself. */
const NAME_BYTES = 63;

/** The target that a configuration names. */
export function targetOf(config: Config): Target {
  const { postgresql } = config;
  return {
    host: postgresql.host,
    port: postgresql.port,
    database: postgresql.database,
    user: postgresql.user,
    password: postgresql.password,
    passwordCommand: postgresql.password_command,
    sslmode: postgresql.sslmode,
    sslrootcert: postgresql.sslrootcert,
    sslcert: postgresql.sslcert,
    sslkey: postgresql.sslkey,
    connectTimeout: postgresql.connect_timeout,
    statementTimeout: postgresql.statement_timeout,
    applicationName: `steep-repl/${config.node_id}`.slice(0, NAME_BYTES),
  };
}

/** `host:port/database`, as people write it. */
export function describeTarget(target: Pick<Target, 'host' | 'port' | 'database'>): string {
  return `${target.host}:${target.port}/${target.database}`;
}
