/** Up to `max` sessions, opened when needed. A session that died is forgotten; nobody waits without a deadline. */
import { codeOf, SteepError } from '../lib/errors.ts';
import { Session, type Sql } from './session.ts';
import type { Target } from './target.ts';

const TOO_MANY_CONNECTIONS = '53300';

interface Waiter {
  resolve: (session: Session) => void;
  reject: (error: unknown) => void;
}

export class Pool {
  private readonly target: Target;
  private readonly max: number;
  private readonly idle: Session[] = [];
  private readonly busy = new Set<Session>();
  private readonly waiting: Waiter[] = [];
  private readonly closing = new AbortController();
  private opening = 0;

  constructor(target: Target, max: number) {
    this.target = target;
    this.max = max;
  }

  /** Opens the first session. Throws as Session.open does. */
  async warm(): Promise<void> {
    this.release(await this.acquire());
  }

  /** Runs one statement on a free session. Throws as Session.open and Session.query do. */
  async query<T>(run: (sql: Sql) => PromiseLike<T>): Promise<T> {
    const session = await this.acquire();
    try {
      return await session.query(run);
    } finally {
      this.release(session);
    }
  }

  private async acquire(): Promise<Session> {
    if (this.closing.signal.aborted) throw closedError();
    const session = this.takeIdle();
    if (session) return session;
    if (this.busy.size + this.opening < this.max) {
      try {
        return await this.open();
      } catch (error) {
        // The server has no place for one more: those that we have must do.
        const free = codeOf(error) === TOO_MANY_CONNECTIONS ? this.takeIdle() : undefined;
        if (free) return free;
        if (codeOf(error) !== TOO_MANY_CONNECTIONS || this.busy.size + this.opening === 0) throw error;
      }
    }
    const { promise, resolve, reject } = Promise.withResolvers<Session>();
    const waiter: Waiter = { resolve, reject };
    this.waiting.push(waiter);
    const timer = setTimeout(() => {
      const place = this.waiting.indexOf(waiter);
      if (place === -1) return; // a session is just being opened for it, which has its own limit
      this.waiting.splice(place, 1);
      reject(
        new SteepError(
          'TIMEOUT',
          `no free connection to PostgreSQL within ${this.target.statementTimeout} ms`,
        ),
      );
    }, this.target.statementTimeout);
    return await promise.finally(() => clearTimeout(timer));
  }

  private takeIdle(): Session | undefined {
    for (let session = this.idle.pop(); session; session = this.idle.pop()) {
      if (session.closed) continue;
      this.busy.add(session);
      return session;
    }
    return undefined;
  }

  private async open(): Promise<Session> {
    this.opening += 1;
    let session: Session;
    try {
      session = await Session.open(this.target, { signal: this.closing.signal });
    } catch (error) {
      // Those who wait would wait for a session that does not come.
      const last = this.busy.size === 0 && this.opening === 1;
      for (const waiter of last ? this.waiting.splice(0) : []) waiter.reject(error);
      throw error;
    } finally {
      this.opening -= 1;
    }
    if (this.closing.signal.aborted) {
      session.destroy();
      throw closedError();
    }
    this.busy.add(session);
    return session;
  }

  private release(session: Session): void {
    this.busy.delete(session);
    const waiter = this.waiting.shift();
    if (session.closed || this.closing.signal.aborted) {
      session.destroy();
      if (waiter) void this.open().then(waiter.resolve, waiter.reject);
    } else if (waiter) {
      this.busy.add(session);
      waiter.resolve(session);
    } else {
      this.idle.push(session);
    }
  }

  /** Ends every session; what runs or waits fails with NOT_CONNECTED. `now`: without a goodbye to the server. */
  async close(now = false): Promise<void> {
    this.closing.abort(closedError());
    for (const waiter of this.waiting.splice(0)) waiter.reject(closedError());
    const sessions = [...this.idle.splice(0), ...this.busy];
    if (now) for (const session of sessions) session.destroy();
    else await Promise.all(sessions.map((session) => session.close()));
  }
}

function closedError(): SteepError {
  return new SteepError('NOT_CONNECTED', 'the connection to PostgreSQL was given up');
}
