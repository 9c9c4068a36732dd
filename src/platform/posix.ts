/** What Linux and macOS share: users, modes and file locks. */
import { closeSync, constants, fstatSync, lstatSync, openSync, statSync } from 'node:fs';
import { tryLock, userName } from './libc.ts';
import type { Env, Exposure, FileLock, OsUser } from './platform.ts';
import { quoted } from './steps.ts';

export function currentUser(): OsUser {
  const uid = process.geteuid?.() ?? 0;
  return { name: userName(uid), uid, privileged: uid === 0 };
}

/**
 * Where systemd keeps what a user's processes share; also for one who came by su or cron, whom no variable tells.
 * `usual`: for tests, which have no /run/user.
 */
export function userRuntimeDir(env: Env, usual = `/run/user/${process.geteuid?.()}`): string | undefined {
  if (env['XDG_RUNTIME_DIR']) return env['XDG_RUNTIME_DIR'];
  try {
    const found = lstatSync(usual);
    return found.isDirectory() && found.uid === process.geteuid?.() ? usual : undefined;
  } catch {
    return undefined; // there is none, or, as for a service, it may not be looked at
  }
}

export function writableByOthers(path: string): Exposure | undefined {
  const { uid, mode } = statSync(path);
  return writable(path, uid, (mode & 0o022) === 0 ? undefined : mode);
}

export function replaceableByOthers(folder: string, trustGroup = false): Exposure | undefined {
  const { uid, mode } = statSync(folder);
  const writers = trustGroup ? 0o002 : 0o022;
  // A sticky folder (/tmp) lets nobody rename or remove what is ours.
  return writable(folder, uid, (mode & writers) === 0 || (mode & 0o1000) !== 0 ? undefined : mode);
}

function writable(path: string, uid: number, mode: number | undefined): Exposure | undefined {
  const foreign = uid !== 0 && uid !== process.geteuid?.();
  return exposure(path, {
    uid: foreign ? uid : undefined,
    mode,
    owner: currentUser().name,
    chmod: 'chmod go-w',
  });
}

export function readableByOthers(path: string, user = process.geteuid?.() ?? 0): Exposure | undefined {
  const { uid, mode } = statSync(path);
  // As in libpq: root may let a group read a key of the system.
  if (uid === 0 && user !== 0 && (mode & 0o037) === 0) return undefined;
  return exposure(path, {
    uid: uid !== 0 && uid !== user ? uid : undefined,
    mode: (mode & 0o077) === 0 ? undefined : mode,
    owner: userName(user),
    chmod: 'chmod 600',
  });
}

/** `uid`, `mode`: what is wrong, or undefined. Of both the owner is told, who can change the mode as well. */
function exposure(
  path: string,
  wrong: { uid: number | undefined; mode: number | undefined; owner: string; chmod: string },
): Exposure | undefined {
  const { uid, mode, owner, chmod } = wrong;
  const remedies = [
    ...(uid === undefined ? [] : [`chown ${owner} ${quoted(path)}`]),
    ...(mode === undefined ? [] : [`${chmod} ${quoted(path)}`]),
  ];
  if (remedies.length === 0) return undefined;
  return {
    reason: uid === undefined ? `its mode is ${octal(mode ?? 0)}` : `it belongs to user id ${uid}`,
    remedy: remedies.join(' && '),
  };
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
