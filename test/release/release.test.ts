/** What `npm run release` refuses, and what it takes from CHANGELOG.md; what it makes is tested by the other files. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { appendFileSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { sectionOf } from '../../build/changelog.ts';

const root = path.join(import.meta.dir, '../..');
const clone = mkdtempSync(path.join(tmpdir(), 'release-'));

beforeAll(() => {
  const { exitCode, stderr } = Bun.spawnSync(['git', 'clone', '--quiet', root, clone]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  symlinkSync(path.join(root, 'node_modules'), path.join(clone, 'node_modules'));
});
afterAll(() => rmSync(clone, { recursive: true, force: true }));

function release(): string {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, 'build/release.ts'], { cwd: clone });
  return `exit ${exitCode}: ${stderr.toString()}`;
}

test('a version that CHANGELOG.md does not name is refused', () => {
  Bun.spawnSync(['sed', '-i', 's/^## .*/## Unreleased/', 'CHANGELOG.md'], { cwd: clone });
  const identity = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  Bun.spawnSync(['git', ...identity, 'commit', '--quiet', '--all', '--allow-empty', '-m', 'Unreleased'], {
    cwd: clone,
  });
  expect(release()).toMatch(
    /^exit 1: no release: CHANGELOG\.md says nothing of \d+\.\d+\.\d+: name the section/,
  );
});

test('files that no commit has are refused', () => {
  appendFileSync(path.join(clone, 'README.md'), '\n');
  expect(release()).toMatch(/^exit 1: no release: the tree is not that of a commit \([0-9a-f]+-dirty\)/);
  expect(existsSync(path.join(clone, 'dist'))).toBe(false);
});

test('the notes are the section of that version', () => {
  const text =
    '# Changelog\n\n## Unreleased\n\n- d\n\n## 1.2.0 (2027-01-01)\n\n- a\n- b\n\n### More\n\n- c\n\n## 1.2\n\n- old\n';
  expect(sectionOf(text, '1.2.0')).toBe('- a\n- b\n\n### More\n\n- c');
  expect(sectionOf(text, '1.2')).toBe('- old');
  expect(sectionOf(text, '1.2.1')).toBeUndefined();
});
