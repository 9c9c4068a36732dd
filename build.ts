/** `bun run build`: the executable of this host in dist/; `--target windows-x64` makes another one's. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeWindowsRuntime } from './build/windows-runtime.ts';

interface Target {
  /** Name of the executable in dist/. */
  file: string;
  /** Bun's name of the target; none: the Bun that runs this. */
  bun?: Bun.Build.CompileTarget;
  /** The package with a runtime that gets our icon and version. */
  windows?: string;
}

const HOST: Target = { file: process.platform === 'win32' ? 'steep-repl.exe' : 'steep-repl' };

const targets: Record<string, Target> = {
  'windows-x64': {
    file: 'steep-repl-windows-x64.exe',
    bun: 'bun-windows-x64',
    windows: '@oven/bun-windows-x64',
  },
};

const dist = path.join(import.meta.dir, 'dist');
const { values } = parseArgs({ options: { target: { type: 'string' } } });
await build(values.target === undefined ? HOST : known(values.target));

function known(name: string): Target {
  const target = targets[name];
  if (target) return target;
  console.error(`no target '${name}'; one of: ${Object.keys(targets).join(', ')}`);
  return process.exit(2);
}

async function build({ file, bun, windows }: Target): Promise<void> {
  const outfile = path.join(dist, file);
  mkdirSync(dist, { recursive: true });
  rmSync(outfile, { force: true });
  const work = mkdtempSync(path.join(dist, '.runtime-'));
  try {
    const runtime = path.join(work, 'bun.exe');
    if (windows !== undefined) writeWindowsRuntime(windows, runtime);
    await compile(outfile, {
      ...(bun === undefined ? {} : { target: bun }),
      ...(windows === undefined ? {} : { executablePath: runtime }),
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const size = `${Math.round(Bun.file(outfile).size / 1e6)} MB`;
  console.log(`${outfile}: ${bun === undefined ? tried(outfile) : bun}, ${size}`);
}

async function compile(outfile: string, runtime: Bun.CompileBuildOptions): Promise<void> {
  const result = await Bun.build({
    entrypoints: [path.join(import.meta.dir, 'src/main.ts')],
    // Lazy imports only pay when each command has a chunk of its own; bytecode needs ESM, or the result is broken.
    splitting: true,
    format: 'esm',
    bytecode: true,
    minify: true,
    sourcemap: 'none',
    compile: {
      ...runtime,
      outfile,
      // A privileged daemon must not run code or take settings from the folder where it is started.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
      execArgv: ['--disallow-code-generation-from-strings=strict'],
    },
  });
  for (const message of result.logs) console.error(message);
  if (!result.success) process.exit(1);
}

/** `bytecode` without what it needs has printed an error, exited 0 and left a broken executable: what it says of itself. */
function tried(outfile: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([outfile, 'version'], { env: {} });
  if (exitCode === 0) return stdout.toString().trim();
  console.error(`the executable does not run: ${stderr.toString()}`);
  return process.exit(1);
}
