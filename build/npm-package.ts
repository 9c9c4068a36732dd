/** Packages of other operating systems: npm does not install them, but packs any. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import lock from '../package-lock.json' with { type: 'json' };
import { run } from './run.ts';

const cache = path.join(import.meta.dir, '../node_modules/.cache/steep-repl');

/** The folder of a package in the version and with the content that package-lock.json pins; fetched once. */
export function npmPackage(name: string): string {
  const entries = lock.packages as Record<string, { version?: string; integrity?: string }>;
  const { version, integrity } = entries[`node_modules/${name}`] ?? {};
  if (version === undefined || integrity === undefined) throw new Error(`package-lock.json pins no ${name}`);
  const folder = path.join(cache, `${name.replace('/', '-')}-${version}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(path.join(cache, 'unpacking-'));
  try {
    run(['npm', 'pack', '--silent', `${name}@${version}`], {}, work);
    const [tarball = ''] = readdirSync(work);
    const hash = createHash('sha512').update(readFileSync(path.join(work, tarball)));
    if (`sha512-${hash.digest('base64')}` !== integrity)
      throw new Error(`${name} ${version} is not what package-lock.json pins`);
    run(['tar', '-xzf', tarball], {}, work);
    // Whoever was faster at the same time has unpacked the same.
    if (!existsSync(folder)) renameSync(path.join(work, 'package'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}

/** For scripts: `bun build/npm-package.ts NAME` prints the folder. */
if (import.meta.main) console.log(npmPackage(process.argv[2] ?? ''));
