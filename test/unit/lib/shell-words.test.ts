import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { splitShellWords } from '../../../src/lib/shell-words.ts';

const lines: [line: string, words: string[]][] = [
  ['pass show db', ['pass', 'show', 'db']],
  ['  pass \t show  ', ['pass', 'show']],
  ["cat '/etc/my secret'", ['cat', '/etc/my secret']],
  ['cat "/etc/my secret"', ['cat', '/etc/my secret']],
  [String.raw`cat /etc/my\ secret`, ['cat', '/etc/my secret']],
  [`sh -c 'echo "$PW" | head -1'`, ['sh', '-c', 'echo "$PW" | head -1']],
  [`a"b"'c'd`, ['abcd']],
  [`a "" ''`, ['a', '', '']],
  [String.raw`echo "a\"b\\c\nd"`, ['echo', String.raw`a"b\c\nd`]],
  [String.raw`echo '\' \'`, ['echo', '\\', "'"]],
  [String.raw`echo \$HOME "\$HOME"`, ['echo', '$HOME', '$HOME']],
  [`echo "it's" 'say "x"'`, ['echo', "it's", 'say "x"']],
  ['echo #5 ä', ['echo', '#5', 'ä']],
];

describe('a command line is split as a shell would', () => {
  test.each(lines)('%s', (line, words) => {
    expect(splitShellWords(line)).toEqual({ words });
  });

  test.skipIf(process.platform === 'win32')('and as sh does', () => {
    // A # begins a comment for sh; in a configuration value it does not.
    for (const [line, words] of lines.filter(([text]) => !text.includes('#'))) {
      const { stdout } = spawnSync('sh', ['-c', `printf '%s\\0' ${line}`]);
      expect(stdout.toString().split('\0').slice(0, -1)).toEqual(words);
    }
  });

  test.each([
    ['', 'names no program'],
    ['   ', 'names no program'],
    ["'' a", 'names no program'],
    ["a 'b", "has no closing '"],
    ['a "b', 'has no closing "'],
    ['a b\\', 'ends in a backslash'],
    ['a | b', 'has "|", which only a shell understands, and no shell is run'],
    ['a > b', 'has ">", which only a shell understands, and no shell is run'],
    ['cat $HOME/x', 'has "$", which only a shell understands, and no shell is run'],
    ['cat "$HOME"', 'has "$", which only a shell understands, and no shell is run'],
    ['echo `id`', 'has "`", which only a shell understands, and no shell is run'],
    ['a\nb', String.raw`has "\n", which only a shell understands, and no shell is run`],
  ])('%j is refused', (line, problem) => {
    expect(splitShellWords(line)).toMatchObject({ problem });
  });
});
