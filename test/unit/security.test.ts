/** docs/security.md claims nothing without a test that exists. */
import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dir, '../..');
const text = readFileSync(path.join(root, 'docs/security.md'), 'utf8').replaceAll(/\s+/g, ' ');
const proofs = [...text.matchAll(/(test\/[\w/.-]+\.test\.ts): “([^”]+)”/g)].map(
  ([, file = '', name = '']) => ({ file, name }),
);

test('there are proofs', () => {
  expect(proofs.length).toBeGreaterThan(40);
});

test.each(proofs)('$file has “$name”', ({ file, name }) => {
  const where = path.join(root, file);
  expect(existsSync(where)).toBe(true);
  const source = readFileSync(where, 'utf8');
  expect(source.includes(`'${name}'`)).toBe(true);
});

test('every row of a table of claims has a proof', () => {
  const source = readFileSync(path.join(root, 'docs/security.md'), 'utf8');
  const tables = source
    .split('| claim | proof |')
    .slice(1)
    .map((part) => part.split('\n\n')[0]!);
  const rows = tables.flatMap((table) => table.split('\n').filter((line) => /^\| [^-]/.test(line)));
  expect(rows.length).toBeGreaterThan(40);
  expect(rows.filter((row) => !/: “[^”]+” \|$/.test(row))).toEqual([]);
});
