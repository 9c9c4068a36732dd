import path from 'node:path';
import { launchdHost } from './launchd-host.ts';
import { launchdManager, launchdUser } from './launchd.ts';
import type { Env, Platform } from './platform.ts';
import * as posix from './posix.ts';
import * as unixSocket from './unix-socket.ts';

function inHome(env: Env, folder: string): string | undefined {
  return env['HOME'] ? path.posix.join(env['HOME'], folder) : undefined;
}

export const macos: Platform = {
  os: 'macos',
  configDirs: (env) => ({
    system: '/Library/Application Support/steep',
    user: inHome(env, 'Library/Application Support/steep'),
  }),
  stateBases: (env) => ({
    system: '/Library/Application Support/steep/state',
    user: inHome(env, 'Library/Application Support/steep/state'),
  }),
  runtimeDirs: () => ({ system: undefined, user: undefined }),
  currentUser: posix.currentUser,
  writableByOthers: posix.writableByOthers,
  replaceableByOthers: posix.replaceableByOthers,
  readableByOthers: posix.readableByOthers,
  lockFile: posix.lockFile,
  ipcAddresses: (scope, env) => {
    const base =
      scope === 'system'
        ? '/Library/Application Support/steep'
        : inHome(env, 'Library/Application Support/steep');
    return {
      private: base === undefined ? undefined : path.posix.join(base, 'run/steep-repl.sock'),
      shared: unixSocket.SHARED_SOCKET,
    };
  },
  listenLocally: unixSocket.listenLocally,
  peerOf: unixSocket.peerOnMacos,
  distrust: (address) => unixSocket.distrust(address, launchdUser() ?? unixSocket.SERVICE_USER),
  distrustPeer: (socket) =>
    unixSocket.distrustPeer(
      unixSocket.peerOnMacos(socket, undefined),
      launchdUser() ?? unixSocket.SERVICE_USER,
    ),
  listenerOf: () => undefined, // only lsof knows, and it may take seconds
  serviceManager: launchdManager,
  serviceHost: launchdHost,
};
