/** Executables of `bun build.ts --all` that run here: on this processor, or on an emulated one. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TargetName, targets } from '../../build/targets.ts';
import type { Outcome } from './cli.ts';
import { TestDaemon } from './daemon.ts';

export const dist = path.join(import.meta.dir, '../../dist');
const script = path.join(import.meta.dir, 'emulation-bed.sh');

/** A folder with a configuration, for one of the executables. */
export class Emulated implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'em-'));
  private readonly command: readonly string[];
  private readonly env: Record<string, string>;

  constructor(target: TargetName) {
    this.command = [script, 'run', target, path.join(dist, targets[target].file)];
    mkdirSync(path.join(this.folder, 'run'), { mode: 0o700 });
    const { PATH = '', STEEP_TEST_RUN, STEEP_EMULATION_BED } = process.env;
    this.env = {
      PATH,
      HOME: this.folder,
      XDG_RUNTIME_DIR: path.join(this.folder, 'run'),
      STEEP_REPL_CONFIG: path.join(this.folder, 'config.yaml'),
      ...(STEEP_TEST_RUN === undefined ? {} : { STEEP_TEST_RUN }),
      ...(STEEP_EMULATION_BED === undefined ? {} : { STEEP_EMULATION_BED }),
    };
  }

  writeConfig(repl: Record<string, unknown>): void {
    writeFileSync(path.join(this.folder, 'config.yaml'), JSON.stringify({ repl }), { mode: 0o600 });
  }

  async run(...args: string[]): Promise<Outcome> {
    const child = Bun.spawn([...this.command, ...args], {
      cwd: this.folder,
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  start(): TestDaemon {
    return new TestDaemon([...this.command, 'run'], this.env, this.folder);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
