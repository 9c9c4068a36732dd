/** What Linux and macOS share: users, modes and file locks, by libc where Node's own functions believe $USER. */
import { CString, dlopen, FFIType, read } from 'bun:ffi';
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { SteepError } from '../lib/errors.ts';
import type { FileLock, OsUser } from './platform.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

const symbols = {
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  getpwuid: { args: [FFIType.u32], returns: FFIType.ptr },
} as const;

function openLibc(names: string[]) {
  for (const name of names) {
    try {
      return dlopen(name, symbols).symbols;
    } catch {
      // The next name: glibc and musl differ.
    }
  }
  throw new SteepError('INTERNAL_ERROR', `no C library found among ${names.join(', ')}`);
}

let libc: ReturnType<typeof openLibc> | undefined;
function c(): ReturnType<typeof openLibc> {
  libc ??= openLibc(
    process.platform === 'darwin'
      ? ['libSystem.B.dylib']
      : ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so'],
  );
  return libc;
}

export function currentUser(): OsUser {
  const uid = process.geteuid?.() ?? 0;
  const entry = c().getpwuid(uid);
  // The first member of struct passwd is char *pw_name. A container may run an id that has no entry.
  const name = entry === null ? String(uid) : new CString(read.ptr(entry, 0)).slice();
  return { name, uid, privileged: uid === 0 };
}

export function writableByOthers(path: string): string | undefined {
  const { uid, mode } = statSync(path);
  if (uid !== 0 && uid !== process.geteuid?.()) return `it belongs to user id ${uid}`;
  // A sticky folder (/tmp) lets nobody rename or remove what is ours.
  if ((mode & 0o022) !== 0 && (mode & constants.S_IFMT) === constants.S_IFDIR && (mode & 0o1000) !== 0)
    return undefined;
  return (mode & 0o022) === 0 ? undefined : `its mode is ${octal(mode)}`;
}

export function readableByOthers(path: string): string | undefined {
  const { uid, mode } = statSync(path);
  if (uid !== 0 && uid !== process.geteuid?.()) return `it belongs to user id ${uid}`;
  return (mode & 0o077) === 0 ? undefined : `its mode is ${octal(mode)}`;
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

export function lockFile(path: string): FileLock | 'held' {
  for (;;) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    if (c().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      closeSync(fd);
      return 'held';
    }
    // Somebody may have replaced the file between open and lock: then the lock protects nothing.
    if (fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino)
      return { release: () => closeSync(fd) };
    closeSync(fd);
  }
}
