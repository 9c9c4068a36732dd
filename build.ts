/**
 * `bun run build`: the executable of this host in dist/; `--target windows-x64` makes another one's, `--all` those of
 * every system, with what is inside and under which licences, and SHA256SUMS.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bundledPackages } from './build/bundled.ts';
import { currentCommit } from './build/commit.ts';
import { buildHost, buildTarget } from './build/executable.ts';
import { licensesText, spdxDocument } from './build/licenses.ts';
import { writeSums } from './build/sums.ts';
import { hostTarget, isTarget, type TargetName, targets } from './build/targets.ts';

const dist = path.join(import.meta.dir, 'dist');
const all = Object.keys(targets) as TargetName[];
const { values } = parseArgs({ options: { target: { type: 'string' }, all: { type: 'boolean' } } });
const commit = currentCommit();
const LICENSES = ['steep-repl.spdx.json', 'THIRD-PARTY-LICENSES.txt'] as const;

if (values.all) {
  let inputs: string[] = [];
  for (const name of all) inputs = await make(name);
  writeLicenses(inputs);
  writeSums(dist, [...all.map((name) => targets[name].file), ...LICENSES]);
} else if (values.target === undefined) {
  const outfile = path.join(dist, process.platform === 'win32' ? 'steep-repl.exe' : 'steep-repl');
  await buildHost(outfile, { commit: commit.commit, target: hostTarget() });
  say(outfile, tried(outfile));
} else if (isTarget(values.target)) {
  await make(values.target);
} else {
  console.error(`no target '${values.target}'; one of: ${all.join(', ')}`);
  process.exit(2);
}

/** Returns the files that went in. */
async function make(name: TargetName): Promise<string[]> {
  const inputs = await buildTarget(dist, name, commit.commit);
  say(path.join(dist, targets[name].file), targets[name].bun);
  return inputs;
}

function writeLicenses(inputs: readonly string[]): void {
  const bundled = bundledPackages(inputs);
  const [spdx, text] = LICENSES;
  writeFileSync(path.join(dist, spdx), `${JSON.stringify(spdxDocument(bundled, commit), null, 2)}\n`);
  writeFileSync(path.join(dist, text), licensesText(bundled));
}

function say(file: string, what: string): void {
  console.log(`${file}: ${what}, ${Math.round(Bun.file(file).size / 1e6)} MB`);
}

/** `bytecode` without what it needs has printed an error, exited 0 and left a broken executable: what it says of itself. */
function tried(outfile: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([outfile, 'version'], { env: {} });
  if (exitCode === 0) return stdout.toString().trim();
  console.error(`the executable does not run: ${stderr.toString()}`);
  return process.exit(1);
}
