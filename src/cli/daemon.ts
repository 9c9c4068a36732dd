/** How commands find the daemon. */
import { existsSync } from 'node:fs';
import { loadConfig } from '../config/load.ts';
import { IpcClient } from '../ipc/client.ts';
import { SteepError } from '../lib/errors.ts';
import { thisPlatform } from '../platform/index.ts';
import { configArg } from './output.ts';

/** The options of every command that asks the daemon. */
export const daemonArgs = {
  socket: { type: 'string', description: 'Address of the daemon’s IPC socket', valueHint: 'PATH' },
  config: configArg,
} as const;

export interface DaemonAddress {
  socket?: string | undefined;
  config?: string | undefined;
}

/**
 * Connects to `--socket`, else to `ipc.path` of the configuration, else to the usual places. Throws NOT_RUNNING,
 * PERMISSION_DENIED, TIMEOUT; CONFIG_INVALID only for a file that `--config` names.
 */
export async function connectToDaemon(where: DaemonAddress): Promise<IpcClient> {
  const platform = thisPlatform();
  const addresses = addressesOf(where);
  let denied: SteepError | undefined;
  for (const address of addresses) {
    if (platform.os !== 'windows' && !existsSync(address)) continue;
    try {
      return await IpcClient.connect(address, platform);
    } catch (thrown) {
      const error = SteepError.from(thrown);
      if (error.code !== 'NOT_RUNNING') denied ??= error;
    }
  }
  throw (
    denied ??
    new SteepError('NOT_RUNNING', `no daemon answers at ${addresses.join(' or ')}`, {
      hint: 'start it:  steep-repl run;  or name its socket with --socket',
    })
  );
}

function addressesOf({ socket, config }: DaemonAddress): string[] {
  if (socket !== undefined) return [socket];
  const configured = configuredAddress(config);
  if (configured !== undefined) return [configured];
  const platform = thisPlatform();
  const { env } = process;
  const system = platform.ipcAddresses('system', env);
  const user = platform.ipcAddresses('user', env);
  const own = platform.currentUser().privileged
    ? [system.private, user.private]
    : [user.private, system.private];
  return [...new Set([...own, system.shared])].filter((address) => address !== undefined);
}

/** `ipc.path`, where this user may read the configuration; a broken file must not hide the daemon. */
function configuredAddress(path: string | undefined): string | undefined {
  try {
    return loadConfig({ path, env: process.env, platform: thisPlatform() }).config.ipc.path;
  } catch (error) {
    if (path !== undefined) throw error;
    return undefined;
  }
}
