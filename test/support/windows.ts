/** A Windows to run executables in: wine, by windows-bed.sh. As root on Linux, after `windows-bed.sh prepare`. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { npmPackage } from '../../build/npm-package.ts';
import type { Outcome } from './cli.ts';

const repository = path.join(import.meta.dir, '../..');
const script = path.join(import.meta.dir, 'windows-bed.sh');
const executable = path.join(repository, 'dist/steep-repl-windows-x64.exe');

/** A file of the repository, or of a package, as Windows programs name it. */
export function inRepository(file: string): string {
  return `Z:\\repository\\${path.relative(repository, path.resolve(repository, file)).replaceAll('/', '\\')}`;
}

interface RunOptions {
  env?: Record<string, string>;
  folder?: string;
}

export class Windows implements AsyncDisposable {
  /** `Z:\w` for Windows programs. */
  readonly folder = mkdtempSync(path.join(tmpdir(), 'windows-'));
  readonly drive = path.join(this.folder, '.wine/drive_c');
  private commands = 0;

  constructor() {
    bed('begin', this.folder);
    copyFileSync(executable, path.join(this.folder, 'steep-repl.exe'));
  }

  /** Where the configuration of the machine lies. */
  get programData(): string {
    return path.join(this.drive, 'ProgramData/steep');
  }

  writeConfig(repl: Record<string, unknown>): void {
    mkdirSync(this.programData, { recursive: true });
    writeFileSync(path.join(this.programData, 'config.yaml'), JSON.stringify({ repl }));
  }

  /** Runs steep-repl.exe. */
  async steep(...args: string[]): Promise<Outcome> {
    return await this.run(['Z:\\w\\steep-repl.exe', ...args]);
  }

  /** Runs Bun for Windows in the folder of this repository. */
  async bun(...args: string[]): Promise<Outcome> {
    const runtime = path.join(npmPackage('@oven/bun-windows-x64'), 'bin/bun.exe');
    return await this.run([inRepository(runtime), ...args], { folder: '/repository' });
  }

  /** Output goes to files: what a program starts in the background would hold a pipe open for ever. */
  async run(command: string[], { env = {}, folder = '/w' }: RunOptions = {}): Promise<Outcome> {
    this.commands += 1;
    const [out, err] = ['out', 'err'].map((name) => path.join(this.folder, `${this.commands}.${name}`));
    const files = [openSync(out!, 'w'), openSync(err!, 'w')] as const;
    const set = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
    try {
      const shell = `cd ${folder} && ${set.join(' ')} exec $WINE "$@"`;
      const child = Bun.spawn([script, 'sh', this.folder, shell, ...command], {
        stdio: ['ignore', ...files],
        timeout: 120_000,
      });
      const code = await child.exited;
      return { code, stdout: text(out!), stderr: text(err!) };
    } finally {
      files.forEach(closeSync);
    }
  }

  /** What services wrote into the Event Log: wine keeps none, but tells. */
  get eventLog(): string[] {
    const written = text(path.join(this.folder, 'wine.log')).matchAll(/:ReportEventW L"(.*)"$/gm);
    return [...written].map(([, line = '']) => line.replaceAll('\\\\', '\\').replaceAll('\\"', '"'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    bed('end', this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function bed(...args: string[]): void {
  if (!existsSync(executable)) throw new Error(`${executable} is missing: npm run test:windows`);
  const { status, stderr } = spawnSync(script, args, { encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(`windows-bed.sh ${args[0]}: ${stderr}`);
}

function text(file: string): string {
  return readFileSync(file, 'utf8').replaceAll('\r\n', '\n');
}
