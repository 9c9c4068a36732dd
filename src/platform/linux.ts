import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { type Env, type Platform } from './platform.ts';
import * as posix from './posix.ts';
import { systemdHost } from './systemd-host.ts';
import { systemdManager, systemdUser } from './systemd.ts';
import * as unixSocket from './unix-socket.ts';

/** The XDG variable, which counts only when absolute, or its default below the home folder. */
function xdg(env: Env, variable: string, fallback: string): string | undefined {
  const value = env[variable];
  if (value !== undefined && path.posix.isAbsolute(value)) return path.posix.join(value);
  return env['HOME'] ? path.posix.join(env['HOME'], fallback) : undefined;
}

function below(base: string | undefined, name: string): string | undefined {
  return base === undefined ? undefined : path.posix.join(base, name);
}

export const linux: Platform = {
  os: 'linux',
  configDirs: (env) => ({
    system: '/etc/steep',
    user: below(xdg(env, 'XDG_CONFIG_HOME', '.config'), 'steep'),
  }),
  stateBases: (env) => ({
    system: '/var/lib/steep-repl',
    user: below(xdg(env, 'XDG_STATE_HOME', '.local/state'), 'steep-repl'),
  }),
  runtimeDirs: (env) => ({
    system: '/run/steep-repl',
    user: below(posix.userRuntimeDir(env), 'steep-repl'),
  }),
  currentUser: posix.currentUser,
  writableByOthers: posix.writableByOthers,
  replaceableByOthers: posix.replaceableByOthers,
  readableByOthers: posix.readableByOthers,
  lockFile: posix.lockFile,
  ipcAddresses: (scope, env) => {
    const folder = scope === 'system' ? '/run/steep-repl' : below(posix.userRuntimeDir(env), 'steep-repl');
    return { private: below(folder, 'steep-repl.sock'), shared: unixSocket.SHARED_SOCKET };
  },
  listenLocally: unixSocket.listenLocally,
  peerOf: unixSocket.peerOnLinux,
  distrust: (address) => unixSocket.distrust(address, systemdUser() ?? unixSocket.SERVICE_USER),
  distrustPeer: (socket) =>
    unixSocket.distrustPeer(
      unixSocket.peerOnLinux(socket, undefined),
      systemdUser() ?? unixSocket.SERVICE_USER,
    ),
  listenerOf,
  serviceManager: systemdManager,
  serviceHost: systemdHost,
};

const LISTEN = '0A';

/** By /proc: the socket's inode from the TCP tables, then whoever has it open (only ours, unless root). */
function listenerOf(port: number): string | undefined {
  const wanted = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    try {
      for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
        const fields = line.trim().split(/\s+/);
        if (fields[3] === LISTEN && Number.parseInt(fields[1]?.split(':')[1] ?? '', 16) === port)
          wanted.add(`socket:[${fields[9]}]`);
      }
    } catch {
      // No such table: no IPv6, or a hardened /proc.
    }
  }
  if (wanted.size === 0) return undefined;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (!wanted.has(readlinkSync(`/proc/${pid}/fd/${fd}`))) continue;
        return `${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()} (pid ${pid})`;
      }
    } catch {
      // Another user's process, or one that just ended.
    }
  }
  return undefined;
}
