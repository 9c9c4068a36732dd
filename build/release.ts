/**
 * `npm run release`: all that is published of this version, in dist/: executables, packages, licences, notes and sums.
 * It publishes nothing. Refused unless the tree is clean and CHANGELOG.md has a section about the version.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { sectionOf } from './changelog.ts';
import { currentCommit } from './commit.ts';
import { buildDeb } from './deb.ts';
import { buildRpm } from './rpm.ts';
import { run } from './run.ts';
import { writeSums } from './sums.ts';
import { targets } from './targets.ts';

const root = path.join(import.meta.dir, '..');
const dist = path.join(root, 'dist');
const NOTES = 'RELEASE-NOTES.md';
const LICENSES = 'THIRD-PARTY-LICENSES.txt';
const { version } = packageJson;
const { commit, date } = currentCommit();

const notes = sectionOf(readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8'), version);
if (!/^[0-9a-f]{40,}$/.test(commit))
  refuse(`the tree is not that of a commit (${commit}): commit or stash what differs, in a git checkout`);
if (notes === undefined || notes === '')
  refuse(`CHANGELOG.md says nothing of ${version}: name the section 'Unreleased' so, as in  ## ${version}`);

// Nothing of another version beside this one.
rmSync(dist, { recursive: true, force: true });
run([process.execPath, path.join(root, 'build.ts'), '--all']);
const packages = (['x64', 'arm64'] as const).flatMap((arch) => {
  const options = {
    executable: path.join(dist, targets[`linux-${arch}`].file),
    arch,
    licenses: path.join(dist, LICENSES),
    version,
    date: new Date(date),
    folder: dist,
  };
  return [buildDeb(options), buildRpm(options)];
});
writeFileSync(
  path.join(dist, NOTES),
  `# steep-repl ${version}\n\n${notes}\n\nBuilt from commit ${commit}.\n`,
);
const executables = Object.values(targets).map(({ file }) => file);
const files = [...executables, ...packages, 'steep-repl.spdx.json', LICENSES, NOTES];
writeSums(dist, files);
for (const file of files)
  console.log(`${file}: ${(Bun.file(path.join(dist, file)).size / 1e6).toFixed(1)} MB`);
console.log(`steep-repl ${version} is in ${dist}; sha256sum --check SHA256SUMS`);

function refuse(reason: string): never {
  console.error(`no release: ${reason}`);
  process.exit(1);
}
