/** What `start` and `restart` wait for, and what they show when it does not come. */
import { SteepError } from '../../lib/errors.ts';
import type { ServiceManager, ServiceState } from '../../platform/index.ts';
import { connectToDaemon } from '../daemon.ts';
import { formatSeconds } from '../format.ts';
import { EXIT, printError, printJson, printText } from '../output.ts';
import { entryLine } from './logs.ts';
import { nameOf } from './manager.ts';
import { serviceJson } from './seen.ts';

const LIMIT_MS = 30_000;
const POLL_MS = 50;
const LINES = 20;

/** The exit code: 0 when the daemon is ready, 1 after the end of its log otherwise. */
export async function becomeReady(
  manager: ServiceManager,
  act: () => Promise<void>,
  json: boolean,
): Promise<number> {
  const began = new Date();
  try {
    await act();
    await answer(manager);
  } catch (thrown) {
    const error = SteepError.from(thrown);
    if (error.code !== 'FAILED' && error.code !== 'TIMEOUT') throw error;
    await showLog(manager, began);
    const { detail } = await manager.state();
    printError(
      new SteepError('FAILED', `the daemon did not become ready: ${detail ?? error.message}`, {
        hint: 'its log is above; more:  steep-repl logs',
      }),
    );
    return EXIT.failed;
  }
  const state = await manager.state();
  if (json) printState(manager, state);
  else printText(`${nameOf(manager)} is ready after ${Date.now() - began.getTime()} ms, pid ${state.pid}`);
  return EXIT.ok;
}

/**
 * Asks the daemon itself: what the manager started may have ended since. Where it cannot be asked, it is enough that it
 * stays; longer where the manager does not know whether it is ready.
 */
async function answer(manager: ServiceManager): Promise<void> {
  const deadline = Date.now() + LIMIT_MS;
  const enough = manager.knowsReady ? 1000 : 3000;
  let seen = { pid: 0, since: Date.now() };
  for (;;) {
    const { activity, pid = 0, detail } = await manager.state();
    if (activity !== 'active' && activity !== 'starting')
      throw new SteepError('FAILED', `it did not stay${detail === undefined ? '' : `: ${detail}`}`);
    if (pid !== seen.pid) seen = { pid, since: Date.now() };
    if (activity === 'active' && ((await isReady(pid)) || Date.now() - seen.since >= enough)) return;
    if (Date.now() > deadline)
      throw new SteepError('TIMEOUT', `it was not ready within ${formatSeconds(LIMIT_MS / 1000)}`);
    await Bun.sleep(POLL_MS);
  }
}

async function isReady(pid: number): Promise<boolean> {
  try {
    using client = await connectToDaemon({});
    const status = await client.call('status.get', {});
    return status.pid === pid && status.state === 'running';
  } catch (error) {
    return SteepError.from(error).code === 'PERMISSION_DENIED'; // it answers, but not to us
  }
}

async function showLog(manager: ServiceManager, since: Date): Promise<void> {
  try {
    for await (const entry of manager.logs({ lines: LINES, since, follow: false }))
      printText(entryLine(entry), 'stderr');
  } catch (error) {
    printError(SteepError.from(error));
  }
}

export function printState(manager: ServiceManager, state: ServiceState): void {
  printJson(serviceJson(manager, state));
}
