/** Screens as they are kept in `screens/`, to be read by people; STEEP_SCREENS=write writes them anew. */
import { expect } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Outcome } from '../../support/cli.ts';

/** The command, what it printed and its exit code are those of the file; `names` differ from run to run. */
export function expectScreen(
  name: string,
  command: string,
  { code, stdout, stderr }: Outcome,
  names: Record<string, string>,
): void {
  const file = path.join(import.meta.dir, 'screens', `${name}.txt`);
  const screen = steady(`$ steep-repl ${command}\n${stdout}${stderr}exit code ${code}\n`, names);
  if (process.env['STEEP_SCREENS'] === 'write') writeFileSync(file, screen);
  expect(screen).toBe(readFileSync(file, 'utf8'));
}

/** Times and numbers of this run as words. */
function steady(screen: string, names: Record<string, string>): string {
  const named = Object.entries(names).reduce((text, [from, to]) => text.replaceAll(from, to), screen);
  return named
    .replaceAll(/pid \d+/g, 'pid <pid>')
    .replaceAll(/(running|starting), [\dhms]+/g, '$1, <uptime>')
    .replaceAll(/[\d.]+ ms\b/g, '<n> ms')
    .replaceAll(/for \d+ s\b/g, 'for <n> s')
    .replaceAll(/term (\d+), for [\dhms]+/g, 'term $1, for <time>')
    .replaceAll(/user id \d+/g, 'user id <uid>')
    .replaceAll(/connected 18\.\d+/g, 'connected 18.<minor>')
    .replaceAll(/server: 17\.\d+/g, 'server: 17.<minor>');
}
