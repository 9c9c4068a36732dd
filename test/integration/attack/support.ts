/** Somebody with an account on the machine, and no rights: what he puts in root's way. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const NOBODY = 65_534;
export const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: only root can be attacked by other users');

/** A folder that everybody may write, as /tmp is, and a file of root’s that is not to change. */
export class Playground implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'at-'));
  readonly shared = path.join(this.folder, 'tmp');
  readonly victim = path.join(this.folder, 'victim');

  constructor() {
    chmodSync(this.folder, 0o711);
    mkdirSync(this.shared);
    chmodSync(this.shared, 0o1777);
    writeFileSync(this.victim, 'of root', { mode: 0o600 });
  }

  /** Path in the shared folder. */
  at(name: string): string {
    return path.join(this.shared, name);
  }

  /** What nobody can do with a shell. */
  nobody(script: string, ...args: string[]): void {
    const { status, stderr } = spawnSync(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-ec', script, 'sh', ...args],
      { cwd: this.shared, encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`nobody: ${script}: ${stderr}`);
  }

  /** The same, again and again beside what root does. */
  meanwhile(script: string): Disposable {
    const child = Bun.spawn(
      [
        'setpriv',
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        '--pdeathsig',
        'KILL',
        'sh',
        '-c',
        `while :; do ${script}; done`,
      ],
      { cwd: this.shared, stdio: ['ignore', 'ignore', 'ignore'] },
    );
    return { [Symbol.dispose]: () => child.kill('SIGKILL') };
  }

  /** A folder of nobody’s in the shared one. */
  theirs(name: string): string {
    const folder = this.at(name);
    mkdirSync(folder);
    chownSync(folder, NOBODY, NOBODY);
    return folder;
  }

  /** `of root, 600, root`: as it was at the beginning. */
  get victimNow(): string {
    const { mode, uid, gid } = lstatSync(this.victim);
    return `${readFileSync(this.victim, 'utf8')}, ${(mode & 0o7777).toString(8)}, ${uid}:${gid}`;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const UNTOUCHED = 'of root, 600, 0:0';
