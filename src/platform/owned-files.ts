/**
 * Rights of files in folders that somebody else may write, changed by root: through the opened file alone, and never
 * through a link. A name could lead elsewhere between two looks at it.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  openSync,
  readdirSync,
  type Stats,
} from 'node:fs';
import path from 'node:path';
import { openIn } from './libc.ts';

/** A FIFO must not keep us waiting for its other end. */
const LOOK = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Throws system errors; ELOOP for a link. */
export function changeMode(file: string, mode: number): void {
  if (process.platform === 'win32') return; // which has no modes, and opens no folders
  opened(file, (fd) => fchmodSync(fd, mode));
}

/** Throws system errors; ELOOP for a link. */
export function changeOwner(file: string, uid: number, gid: number): void {
  opened(file, (fd) => fchownSync(fd, uid, gid));
}

function opened(file: string, change: (fd: number) => void): void {
  const fd = openSync(file, LOOK);
  try {
    change(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whether this is the only name of it: another one may lie where it has its rights for a reason. */
export function hasOneName(found: Stats): boolean {
  return found.isDirectory() || found.nlink === 1;
}

/**
 * The folder and all below it, each opened while it is looked at; links and sockets are left out. Nothing if the folder
 * is not there.
 */
export function* openTree(folder: string): Generator<{ fd: number; found: Stats }> {
  let fd: number;
  try {
    fd = openSync(folder, LOOK);
  } catch {
    return;
  }
  yield* openBelow(fd, folder);
}

function* openBelow(fd: number, name: string): Generator<{ fd: number; found: Stats }> {
  try {
    const found = fstatSync(fd);
    yield { fd, found };
    if (!found.isDirectory()) return;
    // Names alone are read by the path: what they stand for is looked up in the opened folder.
    for (const child of namesIn(name)) {
      const opening = openIn(fd, child, LOOK | (constants.O_NOCTTY ?? 0));
      if (opening !== undefined) yield* openBelow(opening, path.join(name, child));
    }
  } finally {
    closeSync(fd);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // gone meanwhile
  }
}
