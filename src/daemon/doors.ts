/** Opens the doors that the configuration asks for. */
import type { Config } from '../config/schema.ts';
import { startHttpServer } from '../http/server.ts';
import { startIpcServer } from '../ipc/server.ts';
import { SteepError } from '../lib/errors.ts';
import type { RootLogger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { DoorStatus, Issue, Subject } from '../operations/subject.ts';
import type { Env, IpcAddresses, Platform } from '../platform/index.ts';

export interface DoorOptions {
  config: Config;
  scope: 'system' | 'user';
  subject: Subject;
  platform: Platform;
  env: Env;
  metrics: Metrics;
  log: RootLogger;
}

export interface Door extends AsyncDisposable {
  status: DoorStatus;
  issues: Issue[];
}

export const CLOSED: DoorStatus = { listening: false };

/**
 * IPC at `ipc.path`, or at the private and the shared address. Throws when the first of them cannot be had;
 * failing to get the second is an issue.
 */
export async function openIpc({
  config,
  scope,
  subject,
  platform,
  env,
  metrics,
  log,
}: DoorOptions): Promise<Door> {
  const { ipc } = config;
  await using stack = new AsyncDisposableStack();
  const issues: Issue[] = [];
  const [first, ...others] = ipc.enabled ? addressesOf(config, platform.ipcAddresses(scope, env)) : [];
  const access = { mode: ipc.group === undefined ? ipc.mode : 0o660, group: ipc.group };
  const own = log.component('ipc');
  const listen = async (address: string): Promise<void> => {
    stack.use(await startIpcServer({ address, access, subject, platform, metrics, log: own }));
    own.info('listening', { address });
  };
  if (first !== undefined) await listen(first);
  for (const address of others) {
    try {
      await listen(address);
    } catch (thrown) {
      const error = SteepError.from(thrown);
      const message = `other Steep programs will not find this daemon: ${error.message}`;
      issues.push({ severity: 'warning', message, hint: error.hint ?? null });
      own.warn(message, { hint: error.hint });
    }
  }
  const running = stack.move();
  const status = first === undefined ? CLOSED : { listening: true, path: first };
  return { status, issues, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function addressesOf({ ipc }: Config, addresses: IpcAddresses): string[] {
  if (ipc.path !== undefined) return [ipc.path];
  return [addresses.private, addresses.shared].filter((address) => address !== undefined);
}

/** HTTP, if it is switched on. Throws when the port cannot be had. */
export function openHttp({ config: { http }, subject, platform, metrics, log }: DoorOptions): Door {
  if (!http.enabled) return { status: CLOSED, issues: [], async [Symbol.asyncDispose]() {} };
  const own = log.component('http');
  const server = startHttpServer({ bind: http.bind, port: http.port, subject, platform, metrics, log: own });
  own.info('listening', { address: `${http.bind}:${server.port}` });
  return {
    status: { listening: true, port: server.port },
    issues: [],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
