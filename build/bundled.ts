/** The packages of npm that are inside the executable, as package-lock.json pins them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import lock from '../package-lock.json' with { type: 'json' };

const root = path.join(import.meta.dir, '..');

interface Entry {
  version: string;
  integrity: string;
  license: string;
}

export interface BundledPackage extends Entry {
  name: string;
  /** Below the root of the repository. */
  folder: string;
}

/** Those among the files that went into a bundle. */
export function bundledPackages(inputs: readonly string[]): BundledPackage[] {
  const folders = new Set(
    // From the first one on, which may lie behind a link, to the package, which may lie inside of another.
    inputs.flatMap((file) => /node_modules\/(?:.*node_modules\/)?(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
  );
  return [...folders].toSorted().map((folder) => ({ folder, ...pinned(folder) }));
}

/** What package-lock.json says of a folder of node_modules. */
export function pinned(folder: string): Entry & { name: string } {
  const { version, integrity, license } = (lock.packages as Record<string, Partial<Entry>>)[folder] ?? {};
  if (version === undefined || integrity === undefined || license === undefined)
    throw new Error(`package-lock.json does not say version, integrity and license of ${folder}`);
  return { name: folder.replace(/^.*node_modules\//, ''), version, integrity, license };
}

/** Some have no file with their licence, but a source that begins with it. */
const TOPS: Readonly<Record<string, string>> = {
  '@bufbuild/protobuf': 'dist/esm/wire/varint.js',
};

/** The texts of its licence; none: it ships none, and the name of the licence must do. */
export function licenseTexts({ name, folder }: BundledPackage): string[] {
  const inside = path.join(root, folder);
  const files = readdirSync(inside).filter((file) => /^(licen[cs]e|notice|copying|copyright)/i.test(file));
  const texts = files.toSorted().map((file) => readFileSync(path.join(inside, file), 'utf8').trim());
  const top = TOPS[name];
  if (top === undefined || !existsSync(path.join(inside, top))) return texts;
  const comment = /^(\/\/.*\n)+/.exec(readFileSync(path.join(inside, top), 'utf8'))?.[0] ?? '';
  return [...texts, comment.replaceAll(/^\/\/ ?/gm, '').trim()];
}
