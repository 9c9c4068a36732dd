/** What Linux and macOS share: users, modes and file locks. */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { tryLock, userName } from './libc.ts';
import type { FileLock, OsUser } from './platform.ts';

export function currentUser(): OsUser {
  const uid = process.geteuid?.() ?? 0;
  return { name: userName(uid), uid, privileged: uid === 0 };
}

export function writableByOthers(path: string): string | undefined {
  const { uid, mode } = statSync(path);
  if (uid !== 0 && uid !== process.geteuid?.()) return `it belongs to user id ${uid}`;
  return (mode & 0o022) === 0 ? undefined : `its mode is ${octal(mode)}`;
}

export function replaceableByOthers(folder: string): string | undefined {
  const reason = writableByOthers(folder);
  // A sticky folder (/tmp) lets nobody rename or remove what is ours.
  return reason?.startsWith('its mode') && (statSync(folder).mode & 0o1000) !== 0 ? undefined : reason;
}

export function readableByOthers(path: string): string | undefined {
  const { uid, mode } = statSync(path);
  // As in libpq: root may let a group read a key of the system.
  if (uid === 0 && process.geteuid?.() !== 0 && (mode & 0o037) === 0) return undefined;
  if (uid !== 0 && uid !== process.geteuid?.()) return `it belongs to user id ${uid}`;
  return (mode & 0o077) === 0 ? undefined : `its mode is ${octal(mode)}`;
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

export function lockFile(path: string): FileLock | 'held' {
  for (;;) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    if (!tryLock(fd)) {
      closeSync(fd);
      return 'held';
    }
    // Somebody may have replaced the file between open and lock: then the lock protects nothing.
    if (fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino)
      return { release: () => closeSync(fd) };
    closeSync(fd);
  }
}
