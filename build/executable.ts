/** Makes one executable: sources, embedded files and Bun in one file. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { signatureFault, signed } from './macho.ts';
import { npmPackage } from './npm-package.ts';
import { type Target, type TargetName, targets } from './targets.ts';
import { writeWindowsRuntime } from './windows-runtime.ts';

const root = path.join(import.meta.dir, '..');

/** What the executable says of itself in `version --json`. */
export interface Identity {
  commit: string;
  target: string;
}

/** Makes dist/`file` of the Bun that runs this. Returns the files that went in. */
export async function buildHost(outfile: string, identity: Identity): Promise<string[]> {
  return await compile(outfile, identity, {});
}

export async function buildTarget(folder: string, name: TargetName, commit: string): Promise<string[]> {
  const target = targets[name];
  const outfile = path.join(folder, target.file);
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(path.join(folder, '.runtime-'));
  try {
    const executablePath = runtimeOf(target, work);
    const inputs = await compile(outfile, { commit, target: name }, { target: target.bun, executablePath });
    if (name.startsWith('darwin')) sign(outfile);
    return inputs;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function runtimeOf({ runtime, bun }: Target, work: string): string {
  const folder = npmPackage(runtime);
  if (!bun.startsWith('bun-windows')) return path.join(folder, 'bin/bun');
  const file = path.join(work, 'bun.exe');
  writeWindowsRuntime(path.join(folder, 'bin/bun.exe'), file);
  return file;
}

function sign(file: string): void {
  writeFileSync(file, signed(readFileSync(file), 'steep-repl'));
  const fault = signatureFault(readFileSync(file));
  if (fault !== undefined) throw new Error(`${file}: ${fault}`);
}

async function compile(
  outfile: string,
  identity: Identity,
  runtime: Bun.CompileBuildOptions,
): Promise<string[]> {
  mkdirSync(path.dirname(outfile), { recursive: true });
  rmSync(outfile, { force: true });
  const result = await Bun.build({
    entrypoints: [path.join(root, 'src/main.ts')],
    define: {
      STEEP_COMMIT: JSON.stringify(identity.commit),
      STEEP_TARGET: JSON.stringify(identity.target),
    },
    // Lazy imports only pay when each command has a chunk of its own; bytecode needs ESM, or the result is broken.
    splitting: true,
    format: 'esm',
    bytecode: true,
    minify: true,
    sourcemap: 'none',
    metafile: true,
    throw: false,
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
  if (!result.success) throw new Error(`${outfile} could not be built`);
  return Object.keys(result.metafile?.inputs ?? {});
}
