/** Runs steep-repl as a user would: the sources, or the compiled executable that STEEP_REPL_BINARY names. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.join(import.meta.dir, '../..');

/** The command line that starts steep-repl. */
export const steepReplCommand: readonly string[] = process.env['STEEP_REPL_BINARY']
  ? [process.env['STEEP_REPL_BINARY']]
  : [process.execPath, path.join(root, 'src/main.ts')];

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Milliseconds after which the test fails. */
  limit?: number;
}

/** A place of its own for configuration, state and home folder; removed when disposed. */
export class Sandbox implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'cli-'));
  readonly config = path.join(this.folder, 'config.yaml');
  readonly env: Record<string, string>;

  constructor() {
    const home = path.join(this.folder, 'home');
    mkdirSync(home, { mode: 0o700 });
    this.env = {
      HOME: home,
      PATH: process.env['PATH'] ?? '',
      TMPDIR: this.folder,
      ...(process.env['STEEP_TEST_RUN'] ? { STEEP_TEST_RUN: process.env['STEEP_TEST_RUN'] } : {}),
    };
  }

  /** Writes the `repl:` section of the configuration; `state_dir` lies in the sandbox. */
  writeConfig(section: Record<string, unknown>): void {
    const repl = {
      state_dir: path.join(this.folder, 'state'),
      ipc: { path: path.join(this.folder, 'ipc.sock') },
      ...section,
    };
    writeFileSync(this.config, JSON.stringify({ repl }), { mode: 0o600 }); // JSON is YAML
  }

  async run(args: string[], options: RunOptions = {}): Promise<Outcome> {
    const child = Bun.spawn([...steepReplCommand, ...args], {
      env: { ...this.env, ...options.env },
      cwd: options.cwd ?? this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.limit ?? 60_000,
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
