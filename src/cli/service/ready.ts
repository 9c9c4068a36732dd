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

/** Not every manager knows when a daemon is ready; where it may be asked, it is. */
async function answer(manager: ServiceManager): Promise<void> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const { activity, pid, detail } = await manager.state();
    if (activity !== 'active' && activity !== 'starting')
      throw new SteepError('FAILED', `the daemon did not stay${detail === undefined ? '' : `: ${detail}`}`);
    if (activity === 'active' && (manager.knowsReady || (await isReady(pid)))) return;
    if (Date.now() > deadline)
      throw new SteepError('TIMEOUT', `the daemon was not ready within ${formatSeconds(LIMIT_MS / 1000)}`);
    await Bun.sleep(POLL_MS);
  }
}

async function isReady(pid: number | undefined): Promise<boolean> {
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
