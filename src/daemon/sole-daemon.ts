/** One daemon a database: whoever finds it held at its first connection waits a little, then gives up. */
import type { Database } from '../db/database.ts';
import { SteepError } from '../lib/errors.ts';

/** The server needs a moment to notice that the session of a daemon that was killed is gone. */
const GRACE_MS = 2000;
/** Longer when the holder has our own name: this host may have lost its power (see the session's keepalives). */
const OWN_NAME_GRACE_MS = 15_000;

/** Calls `giveUp` at most once, and never after this daemon had the database once. */
export function requireSoleDaemon(database: Database, giveUp: (error: SteepError) => void): Disposable {
  let settled = false;
  let timer: NodeJS.Timeout | undefined;
  database.subscribe((state) => {
    settled ||= state.kind === 'connected';
    if (settled || state.kind !== 'away' || state.reason !== 'held') {
      clearTimeout(timer);
      timer = undefined;
      return;
    }
    const { message, hint } = state;
    const ours = message.includes(`by ${database.target.applicationName} `);
    timer ??= setTimeout(
      () => giveUp(new SteepError('CONFLICT', message, { hint })),
      ours ? OWN_NAME_GRACE_MS : GRACE_MS,
    );
  });
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
