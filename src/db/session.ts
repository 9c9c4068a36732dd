/**
 * One connection to PostgreSQL: a porsager client of exactly one socket that we opened ourselves.
 *
 * That client has faults when a connection dies and is used again (uncaught exceptions out of a timer, a
 * stalled reconnect, the old error given to the next query: its issues 1066, 1154, 1208). So nothing here is
 * ever used again: a session whose socket closed is dead, its socket factory answers once, the password is
 * known before the client starts, and there are no `begin` or `reserve`: each job is one statement.
 */
import postgres from 'postgres';
import { SteepError } from '../lib/errors.ts';
import { passwordFrom } from './password.ts';
import { openSocket, type OpenedSocket } from './socket.ts';
import { guardStartup } from './startup-guard.ts';
import type { Target } from './target.ts';

export type Sql = postgres.Sql;

export interface SessionOptions {
  /** Gives up an attempt that is still under way, with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Called once, when the connection ended for any reason. */
  onClose?: (() => void) | undefined;
  onNotify?: ((channel: string, payload: string) => void) | undefined;
}

/** The wait beyond `statement_timeout` before a server that answers nothing is given up. */
const GRACE_MS = 1000;

export class Session {
  private readonly target: Target;
  private readonly sql: Sql;
  private readonly socket: OpenedSocket['socket'];
  private ended = false;
  /** Fail the statements that run: the client leaves some of them waiting for ever when its socket closes. */
  private readonly running = new Set<(error: unknown) => void>();

  private constructor(
    target: Target,
    opened: OpenedSocket,
    password: string | undefined,
    options: SessionOptions,
  ) {
    this.target = target;
    this.socket = opened.socket;
    this.socket.once('close', () => {
      this.ended = true;
      for (const fail of this.running) fail(closedByServer());
      options.onClose?.();
    });
    let handedOut = false;
    const clientOptions: postgres.Options<Record<string, never>> & { socket: () => OpenedSocket['socket'] } =
      {
        host: target.host,
        port: target.port,
        database: target.database,
        user: target.user,
        pass: password ?? '',
        socket: () => {
          if (handedOut) throw closedByServer();
          handedOut = true;
          guardStartup(opened.socket);
          return opened.socket;
        },
        max: 1,
        ssl: false,
        fetch_types: false,
        connect_timeout: 0,
        idle_timeout: 0,
        max_lifetime: null,
        onnotice: () => {},
        connection: {
          application_name: target.applicationName,
          statement_timeout: target.statementTimeout,
          // A server must notice within seconds that our host vanished: its session holds the database's lock.
          tcp_keepalives_idle: 5,
          tcp_keepalives_interval: 2,
          tcp_keepalives_count: 3,
          // Stronger than what ALTER DATABASE and ALTER ROLE set: the owner of the database, who may be less than
          // we are, must not put functions of his in the way, and our statements count on the other two.
          search_path: 'pg_catalog, pg_temp',
          DateStyle: 'ISO',
          default_transaction_isolation: 'read committed',
        },
      };
    // The client reads it behind our back, and throws at libpq's `any`.
    delete process.env['PGTARGETSESSIONATTRS'];
    if (options.onNotify) Object.assign(clientOptions, { onnotify: options.onNotify });
    this.sql = postgres(clientOptions);
  }

  /**
   * Connects and authenticates within `connectTimeout`; the password command has its own limit before that.
   * Throws what openSocket and passwordFrom throw, PostgreSQL's own errors (with SQLSTATE), or TIMEOUT.
   */
  static async open(target: Target, options: SessionOptions = {}): Promise<Session> {
    const password = target.passwordCommand
      ? await passwordFrom(target.passwordCommand, { signal: options.signal })
      : target.password;
    try {
      return await Session.attempt(target, password, options);
    } catch (error) {
      // libpq's `prefer`: a server that refuses us over TLS may have a rule for plain connections.
      const refusedByRule = error instanceof postgres.PostgresError && error.code === '28000';
      if (!(refusedByRule && target.sslmode === 'prefer' && !target.host.startsWith('/'))) throw error;
      return await Session.attempt({ ...target, sslmode: 'disable' }, password, options);
    }
  }

  private static async attempt(
    target: Target,
    password: string | undefined,
    options: SessionOptions,
  ): Promise<Session> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(timedOut(target)), target.connectTimeout);
    const signal = AbortSignal.any([deadline.signal, ...(options.signal ? [options.signal] : [])]);
    try {
      const opened = await openSocket(target, signal);
      const hooks: SessionOptions = { ...options, onClose: undefined };
      const session = new Session(target, opened, password, hooks);
      if (opened.socket.destroyed) throw opened.tlsFailure?.() ?? closedByServer();
      // Not left to the client: whatever it makes of the end of its socket, the attempt ends too.
      const { promise: givenUp, reject } = Promise.withResolvers<never>();
      const giveUp = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', giveUp);
      session.running.add(reject);
      try {
        await Promise.race([session.sql.unsafe('select 1'), givenUp]);
      } catch (error) {
        session.destroy();
        throw opened.tlsFailure?.() ?? error;
      } finally {
        signal.removeEventListener('abort', giveUp);
        session.running.delete(reject);
      }
      if (session.ended) throw closedByServer();
      // Only a session that once worked reports its end.
      if (options.onClose) session.socket.once('close', options.onClose);
      return session;
    } finally {
      clearTimeout(timer);
    }
  }

  get closed(): boolean {
    return this.ended;
  }

  /** Runs one statement. Throws what the server says, NOT_CONNECTED when the connection is gone, TIMEOUT. */
  async query<T>(
    run: (sql: Sql) => PromiseLike<T>,
    timeout = this.target.statementTimeout + GRACE_MS,
  ): Promise<T> {
    if (this.ended) throw new SteepError('NOT_CONNECTED', 'the connection to PostgreSQL is closed');
    const { promise: failed, reject } = Promise.withResolvers<never>();
    this.running.add(reject);
    const timer = setTimeout(() => {
      // First: the end of the socket fails the statement too, and at once.
      reject(new SteepError('TIMEOUT', `PostgreSQL did not answer within ${timeout} ms`));
      this.destroy();
    }, timeout);
    try {
      return await Promise.race([run(this.sql), failed]);
    } catch (error) {
      if (error instanceof postgres.PostgresError && !this.ended) await this.forgetRows(failed);
      throw error;
    } finally {
      this.running.delete(reject);
      clearTimeout(timer);
    }
  }

  /**
   * The client goes on numbering where a statement failed that had returned rows: the next result would begin with as
   * many empty places. A statement that ends well puts that right, whatever its own result looks like.
   */
  private async forgetRows(failed: Promise<never>): Promise<void> {
    try {
      await Promise.race([this.sql.unsafe('select 1'), failed]);
    } catch {
      this.destroy(); // it cannot be relied on
    }
  }

  /** Says goodbye to the server, and does not wait longer than a second for it. */
  async close(): Promise<void> {
    if (!this.ended) await this.sql.end({ timeout: 1 });
    this.destroy();
  }

  /** Drops the connection at once: a hung server answers no goodbye. */
  destroy(): void {
    this.ended = true;
    this.socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function closedByServer(): Error {
  return Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' });
}

function timedOut(target: Target): SteepError {
  return new SteepError('TIMEOUT', `PostgreSQL did not answer within ${target.connectTimeout} ms`);
}
