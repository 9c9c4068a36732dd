/** LISTEN on a connection of its own, as long as PostgreSQL is connected. */
import { sleep } from '../lib/sleep.ts';
import type { Database } from './database.ts';
import { Session } from './session.ts';

const CHANNEL = 'steep_repl';
const RETRY_MS = 500;
/** Longer than the database's own state takes to tell of a loss. */
const TELL_MS = 3000;

/** What a notification of the extension's triggers says: which table changed. */
export interface Notification {
  table: string;
}

export interface ListenerOptions {
  database: Database;
  onNotify: (notification: Notification) => void;
  /** Called each time listening begins: whatever happened before was not heard. */
  onListening: () => void;
  /** Called with the reason, again and again, while that has failed for some time although PostgreSQL is connected. */
  onFailing: (error: unknown) => void;
}

export function startListener({
  database,
  onNotify,
  onListening,
  onFailing,
}: ListenerOptions): AsyncDisposable {
  const stopping = new AbortController();
  let wake = Promise.withResolvers<void>();
  database.subscribe((state) => {
    if (state.kind === 'connected') wake.resolve();
  });
  stopping.signal.addEventListener('abort', () => wake.resolve());

  const listenOnce = async (): Promise<void> => {
    const closed = Promise.withResolvers<void>();
    const session = await Session.open(database.target, {
      signal: stopping.signal,
      onClose: closed.resolve,
      onNotify: (_channel, payload) => {
        const notification = parse(payload);
        if (notification) onNotify(notification);
      },
    });
    const stop = (): void => session.destroy();
    const lost = database.subscribe((state) => {
      if (state.kind === 'away') session.destroy();
    });
    stopping.signal.addEventListener('abort', stop);
    try {
      if (stopping.signal.aborted) return;
      await session.query((sql) => sql.unsafe(`LISTEN ${CHANNEL}`));
      onListening();
      await closed.promise;
    } finally {
      lost();
      stopping.signal.removeEventListener('abort', stop);
      session.destroy();
    }
  };

  let failingSince: number | undefined;
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      if (database.state.kind !== 'connected') {
        failingSince = undefined;
        await wake.promise;
        wake = Promise.withResolvers<void>();
        continue;
      }
      try {
        await listenOnce();
        failingSince = undefined;
      } catch (error) {
        // A loss of PostgreSQL is told by the database's own state, a moment later.
        failingSince ??= performance.now();
        if (performance.now() - failingSince > TELL_MS) onFailing(error);
        await sleep(RETRY_MS, stopping.signal);
      }
    }
  };
  const running = run();
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await running;
    },
  };
}

/** Anybody may notify on the channel: what is not ours is ignored. */
function parse(payload: string): Notification | undefined {
  try {
    const value = JSON.parse(payload) as unknown;
    if (typeof value !== 'object' || value === null || !('table' in value)) return undefined;
    return typeof value.table === 'string' ? { table: value.table } : undefined;
  } catch {
    return undefined;
  }
}
