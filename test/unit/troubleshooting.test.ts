import { expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dir, '../..');
const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(path.join(root, 'src', name), 'utf8'))
  .join('\n');

test('what troubleshooting.md says that one sees is what the program says', () => {
  const page = readFileSync(path.join(root, 'docs/troubleshooting.md'), 'utf8');
  const seen = [...page.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) => [
    ...cell.matchAll(/`([^`]+)`/g),
  ]);
  const pieces = seen.flatMap(([, phrase = '']) => phrase.split('…').map((piece) => piece.trim()));
  // What stands for a part of a name, an action or a command is no message.
  const messages = pieces.filter((piece) => /[a-z] [a-z]/.test(piece));
  expect(messages.length).toBeGreaterThan(25);
  expect(messages.filter((message) => !sources.includes(message))).toEqual([]);
});
