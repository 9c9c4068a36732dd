/**
 * Keeps a connection to PostgreSQL for ever.
 *
 *   connecting ──► connected ──► away ──► connected …
 *        └────────► away ────────┘
 *
 * `connecting` is only the first attempt. One session is the watch: it holds the advisory lock that makes us the
 * one daemon of this database, and is probed every 500 ms. When it closes, when two probes in a row stay
 * unanswered, or when a statement shows that the server cannot be used any more, PostgreSQL is away: every
 * session is dropped and attempts begin, at a pace that depends on the reason. Statements run on a pool of their
 * own, and fail at once with NOT_CONNECTED while the server is away.
 */
import { Backoff } from '../lib/backoff.ts';
import { SteepError } from '../lib/errors.ts';
import { orAborted, sleep } from '../lib/sleep.ts';
import { type Away, type AwayReason, awayFrom, fromPostgres, hintFor, lossFrom } from './errors.ts';
import { Pool } from './pool.ts';
import { inspect, takeDatabase } from './server.ts';
import { Session, type Sql } from './session.ts';
import { describeTarget, type Target } from './target.ts';
import { watch } from './watch.ts';

export type DatabaseState =
  | { kind: 'connecting'; since: Date }
  | { kind: 'connected'; since: Date; version: string; latencyMs: number }
  | ({ kind: 'away'; since: Date } & Away);

/** Told of each change of state (`latencyMs` alone is none), with the state before. Must not throw. */
export type StateListener = (state: DatabaseState, before: DatabaseState) => void;

export interface DatabaseOptions {
  target: Target;
  poolMax: number;
}

/** First and longest wait before the next attempt, in milliseconds. */
const pace: Record<AwayReason, { first: number; most: number }> = {
  unreachable: { first: 100, most: 800 },
  starting: { first: 100, most: 800 },
  full: { first: 100, most: 800 },
  held: { first: 500, most: 500 },
  refused: { first: 100, most: 30_000 },
  tls: { first: 5000, most: 5000 },
  no_database: { first: 5000, most: 5000 },
  no_rights: { first: 5000, most: 5000 },
  no_extension: { first: 5000, most: 5000 },
  schema_too_old: { first: 5000, most: 5000 },
  schema_too_new: { first: 5000, most: 5000 },
  read_only: { first: 5000, most: 5000 },
  too_old: { first: 60_000, most: 60_000 },
};

/** Their messages change from attempt to attempt (closed, refused; starting up, not yet accepting) and say the same. */
const WORDS_VARY: ReadonlySet<AwayReason> = new Set(['unreachable', 'starting']);

interface Connection {
  watched: Session;
  pool: Pool;
  version: string;
  latencyMs: number;
  lost: PromiseWithResolvers<Away>;
}

export class Database {
  readonly target: Target;
  private readonly options: DatabaseOptions;
  private readonly stopping = new AbortController();
  private current: DatabaseState = { kind: 'connecting', since: new Date() };
  private readonly listeners = new Set<StateListener>();
  private connection: Connection | undefined;
  private loop: Promise<void> | undefined;

  constructor(options: DatabaseOptions) {
    this.options = options;
    this.target = options.target;
  }

  get state(): DatabaseState {
    return this.current;
  }

  /** Returns what ends the subscription. */
  subscribe(listener: StateListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Starts to connect, and goes on until `close`. */
  start(): void {
    this.loop ??= this.keepConnected();
  }

  /**
   * Runs one statement. Throws NOT_CONNECTED while PostgreSQL is away, TIMEOUT after `statement_timeout`,
   * CONFLICT, INVALID_REQUEST or FAILED for what the server refuses.
   */
  async query<T>(run: (sql: Sql) => PromiseLike<T>): Promise<T> {
    const { connection, target } = this;
    if (!connection) throw new SteepError('NOT_CONNECTED', this.whyAway(), { hint: this.hint() });
    try {
      return await connection.pool.query(run);
    } catch (error) {
      const loss = lossFrom(error, target);
      const usable = loss !== undefined && (await this.isUsable(connection, loss));
      throw fromPostgres(error, target, usable);
    }
  }

  /**
   * What one statement met may concern that statement alone (a right, a function): then the server is looked at
   * as at the start, and is only lost if it would be refused now.
   */
  private async isUsable({ watched, lost }: Connection, loss: Away): Promise<boolean> {
    if (loss.reason === 'unreachable' || loss.reason === 'starting') {
      lost.resolve(loss);
      return false;
    }
    try {
      const server = await inspect(watched, this.target);
      if (!('reason' in server)) return true;
      lost.resolve(server);
    } catch {
      // The watch itself notices.
    }
    return false;
  }

  private whyAway(): string {
    const where = `PostgreSQL at ${describeTarget(this.target)}`;
    return this.current.kind === 'away'
      ? `${where}: ${this.current.message}`
      : `${where} is not connected yet`;
  }

  private hint(): string {
    return this.current.kind === 'away' ? this.current.hint : hintFor('starting', this.target);
  }

  /** Ends the attempts and the sessions. A server that hangs is not waited for longer than a second. */
  async close(): Promise<void> {
    this.stopping.abort(new SteepError('NOT_CONNECTED', 'the connection to PostgreSQL was given up'));
    await this.loop;
  }

  private async keepConnected(): Promise<void> {
    const { signal } = this.stopping;
    const backoff = new Backoff();
    while (!signal.aborted) {
      const attempt = await orAborted(this.connect(), signal);
      if (attempt === undefined) return;
      const connected = !('reason' in attempt);
      const away = connected ? await this.stayConnected(attempt) : attempt;
      if (away === undefined) return;
      if (connected || this.current.kind !== 'away' || this.current.reason !== away.reason) backoff.reset();
      this.setState({ kind: 'away', since: new Date(), ...away });
      const { first, most } = pace[away.reason];
      await sleep(backoff.next(first, most), signal);
    }
  }

  private async connect(): Promise<Connection | Away> {
    const { target } = this;
    const lost = Promise.withResolvers<Away>();
    const closed = awayFrom(Object.assign(new Error(), { code: 'ECONNRESET' }), target);
    const { signal } = this.stopping;
    const pool = new Pool(target, this.options.poolMax);
    let session: Session | undefined;
    try {
      session = await Session.open(target, { onClose: () => lost.resolve(closed), signal });
      const server = await inspect(session, target);
      if ('reason' in server) {
        await session.close();
        return server;
      }
      const began = performance.now();
      const holder = await takeDatabase(session, target);
      const latencyMs = performance.now() - began;
      if (holder === undefined) {
        // Connected is who can run statements: the watch may have got the server's last slot.
        await pool.warm();
        if (signal.aborted) throw signal.reason;
        return { watched: session, pool, version: server.version, latencyMs, lost };
      }
      await session.close();
      const message = `database ${describeTarget(target)} is held by ${holder}`;
      return { reason: 'held', message, hint: hintFor('held', target) };
    } catch (error) {
      session?.destroy();
      await pool.close(true);
      return awayFrom(error, target);
    }
  }

  /** Connected until this returns, with the reason of the loss; undefined when `close` ended it. */
  private async stayConnected(connection: Connection): Promise<Away | undefined> {
    const { watched, pool, version, latencyMs, lost } = connection;
    const state: DatabaseState = { kind: 'connected', since: new Date(), version, latencyMs };
    const probing = watch(watched, this.target, (ms) => (state.latencyMs = ms));
    this.connection = connection;
    this.setState(state);
    const away = await orAborted(Promise.race([lost.promise, probing.lost]), this.stopping.signal);
    this.connection = undefined;
    probing.stop();
    if (away) {
      watched.destroy();
      await pool.close(true);
    } else {
      await Promise.all([watched.close(), pool.close()]);
    }
    return away;
  }

  /**
   * Failed attempts of one kind are one state, since the first of them: only its words are brought up to date.
   */
  private setState(state: DatabaseState): void {
    const before = this.current;
    if (state.kind === 'away' && before.kind === 'away' && state.reason === before.reason) {
      const told = WORDS_VARY.has(state.reason) || state.message === before.message;
      this.current = told ? { ...state, since: before.since } : state;
      if (told) return;
    } else {
      this.current = state;
    }
    for (const listener of this.listeners) listener(state, before);
  }
}
