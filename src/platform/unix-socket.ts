/** Unix sockets of the daemon: who may have the path, who may connect, and who did. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  rmSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { groupId, socketOption, userId, userName } from './libc.ts';
import type { IpcAccess, OsUser, Peer } from './platform.ts';
import { changeMode } from './owned-files.ts';
import { currentUser, lockFile } from './posix.ts';

/** The account of the system service. */
export const SERVICE_USER = 'steep-repl';
/** Where other Steep programs look. */
export const SHARED_SOCKET = '/tmp/steep-repl.sock';

const ANSWER_MS = 2000;

export async function listenLocally(
  server: net.Server,
  address: string,
  access: IpcAccess,
): Promise<AsyncDisposable> {
  const gid = access.group === undefined ? undefined : groupId(access.group);
  if (access.group !== undefined && gid === undefined)
    throw new SteepError('CONFIG_INVALID', `ipc.group: there is no group '${access.group}'`);
  makeFolder(path.dirname(address));
  // Closing a server removes the path even when another one owns it by now: this lock is around all of it.
  const lock = lockAddress(address);
  try {
    await removeStale(address);
    await listen(server, address);
    giveAccess(address, access, gid);
  } catch (error) {
    if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    lock.release();
    throw error;
  }
  return {
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(() => resolve()));
      lock.release();
    },
  };
}

function giveAccess(address: string, { mode, group }: IpcAccess, gid: number | undefined): void {
  try {
    withoutLinks(address, (socket) => {
      if (gid !== undefined) chownSync(socket, -1, gid);
      chmodSync(socket, mode);
    });
  } catch (error) {
    throw new SteepError('FAILED', `cannot give ${address} to group ${group}: ${messageOf(error)}`, {
      cause: error,
      hint: `ipc.group must be a group that ${currentUser().name} is a member of`,
    });
  }
}

/** Of Linux: names a file without opening it. */
const O_PATH = 0o10000000;
const OPEN_FILES = '/proc/self/fd';

/** Whoever owns the folder of `ipc.path` could put a link in the socket's place, and have another file's mode changed. */
function withoutLinks(address: string, change: (path: string) => void): void {
  if (!existsSync(OPEN_FILES)) {
    change(address);
    return;
  }
  const fd = openSync(address, O_PATH | constants.O_NOFOLLOW);
  try {
    if (!fstatSync(fd).isSocket()) throw new Error('something else was put in its place');
    change(`${OPEN_FILES}/${fd}`);
  } finally {
    closeSync(fd);
  }
}

function makeFolder(folder: string): void {
  try {
    const first = mkdirSync(folder, { recursive: true });
    if (first === undefined) return;
    // Whatever the umask: who may use the socket must get through to it.
    for (let made = folder; made.length >= first.length; made = path.dirname(made)) changeMode(made, 0o755);
  } catch (error) {
    throw new SteepError('FAILED', `cannot make ${folder}: ${messageOf(error)}`, { cause: error });
  }
}

function lockAddress(address: string): { release: () => void } {
  const file = `${address}.lock`;
  let lock: ReturnType<typeof lockFile>;
  try {
    lock = lockFile(file);
  } catch (error) {
    const left = lstatSync(file, { throwIfNoEntry: false });
    throw new SteepError('FAILED', `cannot lock ${address}: ${messageOf(error)}`, {
      cause: error,
      ...(left ? { hint: `is it of a daemon that died? As ${userName(left.uid)}:  rm ${file}` } : {}),
    });
  }
  if (lock === 'held') throw taken(address);
  const { release } = lock;
  return {
    release() {
      // In /tmp it would keep the daemons of all other users from this address. Whoever waits for it looks again.
      try {
        rmSync(file, { force: true });
      } catch {
        // The folder may not be written any more: it stays.
      }
      release();
    },
  };
}

function taken(address: string): SteepError {
  return new SteepError('CONFLICT', `another daemon answers at ${address}`, {
    hint: 'stop it, or give this one its own ipc.path',
  });
}

/** A socket that nobody answers on goes, if it is ours or root's; everything else stays. */
async function removeStale(address: string): Promise<void> {
  const found = lstatSync(address, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket())
    throw new SteepError('FAILED', `${address} is there already and is no socket`, {
      hint: 'remove it, or set ipc.path',
    });
  if (await answers(address)) throw taken(address);
  if (found.uid !== 0 && found.uid !== currentUser().uid)
    throw new SteepError('FAILED', `${address} belongs to ${userName(found.uid)}`, {
      hint: 'remove it, or set ipc.path',
    });
  try {
    rmSync(address, { force: true });
  } catch (error) {
    throw new SteepError('FAILED', `cannot remove the stale socket ${address}: ${messageOf(error)}`, {
      cause: error,
      hint: `as ${userName(found.uid)}:  rm ${address}`,
    });
  }
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(address);
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    // Refused: nobody listens. Anything else, such as no right to connect, may be somebody alive.
    socket.once('error', (error) => done(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT'));
    socket.setTimeout(ANSWER_MS, () => done(true));
  });
}

/** Bound under umask 0077 (set at the start of `run`), so that nobody gets in before the mode is set. */
function listen(server: net.Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void =>
      reject(new SteepError('FAILED', `cannot listen on ${address}: ${messageOf(error)}`, { cause: error }));
    server.once('error', onError);
    server.listen(address, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const MOST_GROUPS = 65_536;

/** struct ucred (pid, uid, gid), and all groups of the process that connected. */
export function peerOnLinux(socket: net.Socket, group: string | undefined): Peer | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const [, uid, gid] = socketOption(fd, SOL_SOCKET, SO_PEERCRED, 3) ?? [];
  if (uid === undefined || gid === undefined) return undefined;
  const others = (): number[] => socketOption(fd, SOL_SOCKET, SO_PEERGROUPS, MOST_GROUPS) ?? [];
  return { user: userOf(uid), inGroup: isMember(group, () => [gid, ...others()]) };
}

const SOL_LOCAL = 0;
const LOCAL_PEERCRED = 1;

/** struct xucred: version, uid, number of groups (16 bits), up to 16 groups. */
export function peerOnMacos(socket: net.Socket, group: string | undefined): Peer | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const [, uid, count, ...gids] = socketOption(fd, SOL_LOCAL, LOCAL_PEERCRED, 19) ?? [];
  if (uid === undefined || count === undefined) return undefined;
  return { user: userOf(uid), inGroup: isMember(group, () => gids.slice(0, count & 0xffff)) };
}

function userOf(uid: number): OsUser {
  return { name: userName(uid), uid, privileged: uid === 0 };
}

function isMember(group: string | undefined, gids: () => number[]): boolean {
  const wanted = group === undefined ? undefined : groupId(group);
  return wanted !== undefined && gids().includes(wanted);
}

/** Neither Node nor Bun documents where the descriptor of a socket is; a test holds Bun to it. */
function descriptorOf(socket: net.Socket): number | undefined {
  const handle = (socket as { _handle?: { fd?: unknown } })._handle;
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}

/** Anybody can make a socket in /tmp: only root's, our own and those of the service's user are believed. */
export function distrust(address: string, serviceUser: string): string | undefined {
  const found = lstatSync(address);
  if (!found.isSocket()) return 'it is no socket';
  return isBelieved(found.uid, serviceUser) ? undefined : `it belongs to ${userName(found.uid)}`;
}

/** Likewise of whoever is at the other end. */
export function distrustPeer(peer: Peer | undefined, serviceUser: string): string | undefined {
  const uid = peer?.user.uid;
  if (uid === undefined || isBelieved(uid, serviceUser)) return undefined;
  return `a process of ${userName(uid)} took the call`;
}

function isBelieved(uid: number, serviceUser: string): boolean {
  return uid === 0 || uid === currentUser().uid || uid === userId(serviceUser);
}
