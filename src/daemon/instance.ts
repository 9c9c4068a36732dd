/** What makes a daemon the only one of its `state_dir`, and lets others find it: the lock and the PID file. */
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { readPlainFile } from '../lib/plain-file.ts';
import type { Env, Exposure, Platform } from '../platform/index.ts';

/** Makes `state_dir`, private to us. Throws FAILED when it cannot be had, PERMISSION_DENIED when others may write it. */
export function prepareStateDir(dir: string, platform: Platform): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new SteepError('FAILED', `state_dir ${dir} cannot be made: ${messageOf(error)}`, {
      cause: error,
      hint: `make it and give it to ${platform.currentUser().name}, or set state_dir`,
    });
  }
  const open = openToOthers(dir, platform);
  if (open !== undefined)
    throw new SteepError('PERMISSION_DENIED', `state_dir ${dir} can be written by others: ${open.reason}`, {
      hint: open.remedy,
    });
}

/**
 * Why others could put files of theirs into a `state_dir`, and the remedy. A folder like /tmp lets them, though they
 * can replace none of ours there: promises and owed audit events would be read from what they left.
 */
export function openToOthers(dir: string, platform: Platform): Exposure | undefined {
  const open = platform.writableByOthers(dir);
  if (open === undefined || (statSync(dir).mode & 0o1000) === 0) return open;
  return { ...open, remedy: 'set state_dir to a folder of its own' };
}

/**
 * Holds `state_dir` until disposed or the process ends, however it ends. Throws CONFLICT naming the pid of the
 * daemon that holds it.
 */
export function lockInstance(dir: string, platform: Platform): Disposable {
  const file = path.join(dir, 'lock');
  let lock: ReturnType<Platform['lockFile']>;
  try {
    lock = platform.lockFile(file);
  } catch (error) {
    throw new SteepError('FAILED', `cannot lock ${file}: ${messageOf(error)}`, { cause: error });
  }
  if (lock === 'held') {
    const pid = readFileSync(file, 'utf8').trim();
    throw new SteepError(
      'CONFLICT',
      `another daemon uses state_dir ${dir}${pid === '' ? '' : `: pid ${pid}`}`,
      {
        hint: 'one daemon a state_dir: stop that one, or give this one its own state_dir',
      },
    );
  }
  // In place, not renamed: the lock is on this very file.
  writeFileSync(file, `${process.pid}\n`);
  const { release } = lock;
  return { [Symbol.dispose]: release };
}

/**
 * Writes the PID file where the platform keeps them, else into `state_dir`. Removed when disposed or when the
 * process exits, unless another daemon of this name has written its own there meanwhile.
 */
export function writePidFile(
  options: { nodeId: string; stateDir: string; scope: 'system' | 'user' },
  platform: Platform,
  env: Env,
): Disposable & { file: string } {
  const runtime = platform.runtimeDirs(env)[options.scope];
  const fallback = path.join(options.stateDir, 'daemon.pid');
  const file = runtime === undefined ? fallback : (tryPidFile(runtime, options.nodeId) ?? fallback);
  if (file === fallback) writeFileAtomic(fallback, `${process.pid}\n`, 0o644);
  const remove = (): void => {
    if (pidIn(file) === process.pid) rmSync(file, { force: true });
  };
  process.once('exit', remove);
  return {
    file,
    [Symbol.dispose]: () => {
      process.off('exit', remove);
      remove();
    },
  };
}

/** Undefined where the file cannot be read, or holds no number. */
function pidIn(file: string): number | undefined {
  try {
    return Number(readPlainFile(file)) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/**
 * Undefined where this user has no rights to the runtime folder, or where a living process has written its own
 * under this name (another `state_dir` with the same node id): that is no reason not to run.
 */
function tryPidFile(folder: string, nodeId: string): string | undefined {
  const file = path.join(folder, `${nodeId}.pid`);
  const other = pidIn(file);
  if (other !== undefined && other !== process.pid && isAlive(other)) return undefined;
  try {
    // Sockets lie there too, for those whom ipc.group lets in: they must be able to pass, whatever the umask.
    if (mkdirSync(folder, { recursive: true }) !== undefined) chmodSync(folder, 0o755);
    writeFileAtomic(file, `${process.pid}\n`, 0o644);
    return file;
  } catch {
    return undefined;
  }
}
