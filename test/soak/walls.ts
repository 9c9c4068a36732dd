/**
 * Runs the soak where nothing of it can stay behind: mounts and processes in namespaces that end with it, files in one
 * folder that is removed last.
 */
import { spawn } from 'node:child_process';
import { chmodSync, constants, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Its init only waits: it buries what a killed server leaves to it. Whatever it mounts below /run is its own. */
const INIT = 'mount -t tmpfs soak /run && "$@"; exit $?';

/** The exit code. Ctrl-C lets it end early with a report, a second one ends it at once. */
export async function walledIn(script: string[], executable: string): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'so-')); // short: Unix sockets lie below it
  chmodSync(folder, 0o711);
  // Whoever builds meanwhile changes nothing here.
  const own = path.join(folder, 'steep-repl');
  copyFileSync(executable, own, constants.COPYFILE_FICLONE);
  const [file = '', ...args] = script;
  const unshare = ['unshare', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child'];
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', '--', ...unshare, '--', 'sh', '-c', INIT, 'sh', process.execPath].concat(
      path.join(import.meta.dir, file),
      args,
    ),
    {
      // A session of its own: Ctrl-C of a terminal would reach every daemon.
      detached: true,
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { ...process.env, STEEP_REPL_BINARY: own, TMPDIR: folder },
    },
  );
  const ended = new Promise<number>((resolve) => {
    child.once('error', () => resolve(1));
    child.once('exit', (code) => resolve(code ?? 1));
  });
  let asked = false;
  const end = (): void => {
    if (asked) child.kill('SIGKILL');
    else child.stdin.end();
    asked = true;
  };
  child.stdin.on('error', () => {}); // it has ended by itself
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);
  const code = await ended;
  rmSync(folder, { recursive: true, force: true });
  return code;
}

/** Inside: called once when the outer process wants an end, or is gone. */
export function onEnd(callback: () => void): void {
  process.stdin.on('end', callback);
  process.stdin.on('error', callback);
  process.stdin.resume();
}
