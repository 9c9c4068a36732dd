/** The rules of the house that a reader cannot see in one file: who may import whom, and what may stand where. */
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** From the bottom up. A file imports from its own folder and from lower rows; never sideways, never up. */
const ROWS = [
  ['lib', 'gen'],
  ['platform'],
  ['config'],
  ['db', 'tls'],
  ['cluster'],
  ['operations'],
  ['ipc', 'rpc', 'http', 'etcd'],
  ['daemon'],
  ['cli'],
  ['main.ts'],
];

interface Rule {
  what: string;
  pattern: RegExp;
  /** Files and folders of src where it may stand; each exception says why. */
  allowed: string[];
}

const RULES: Rule[] = [
  {
    what: 'a transaction on the client: it throws out of a timer when its connection dies (see db/session.ts)',
    pattern:
      /\b\w*(sql|client|postgres)\w*\.(begin|reserve)\s*\(|\.begin\s*\(\s*(async\b|["'`]|\(?\w*\)?\s*=>)/i,
    allowed: [],
  },
  {
    what: 'SQL',
    pattern:
      /\bsql\s*(<[^`;]*>)?\s*`|["'`]\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+(\.\w+)?\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP)\s+(EXTENSION|SCHEMA|TABLE|FUNCTION)\s+[a-z"$]|GRANT\s.+\sTO\s|LISTEN\s+[a-z])/,
    allowed: ['db'],
  },
  { what: 'foreign functions', pattern: /["'`]bun:ffi["'`]/, allowed: ['platform'] },
  {
    what: 'a question for the operating system’s name',
    pattern: /\bprocess\.platform\b|\bos\.platform\(/,
    allowed: [
      'platform',
      // Below platform, and Windows cannot open a folder to fsync it.
      'lib/atomic-file.ts',
      // Windows has no process groups to end by a negative pid.
      'db/password.ts',
      // Only prints it.
      'cli/version.ts',
    ],
  },
  {
    what: 'a child with all of our environment, PGPASSWORD included (see lib/child-env.ts)',
    pattern: /\bspawn(Sync)?\s*\((?![^;]*\bchildEnv\()/,
    allowed: [],
  },
  { what: 'process.exit', pattern: /\bprocess\.exit\s*\(/, allowed: ['cli', 'main.ts'] },
];

describe('every file of src', () => {
  const files = [...new Bun.Glob('**/*.ts').scanSync(path.join(import.meta.dir, '../../src'))].filter(
    (file) => !file.startsWith('gen/'),
  );

  test('obeys the architecture', () => {
    expect(files.length).toBeGreaterThan(40);
    const found = files.flatMap((file) =>
      violations(file, readFileSync(path.join(import.meta.dir, '../../src', file), 'utf8')),
    );
    expect(found).toEqual([]);
  });

  test('is needed by every exception that a rule makes', () => {
    const unused = RULES.flatMap(({ what, pattern, allowed }) =>
      allowed
        .filter((place) => place.includes('/'))
        .filter((place) => {
          const text = readFileSync(path.join(import.meta.dir, '../../src', place), 'utf8');
          return !pattern.test(withoutComments(text));
        })
        .map((place) => `${what}: ${place}`),
    );
    expect(unused).toEqual([]);
  });
});

describe('the check of the architecture', () => {
  test.each([
    ['lib/a.ts', `import { x } from '../db/x.ts';`, 'lib/a.ts imports db/x.ts: up'],
    ['db/a.ts', `import type { X } from '../tls/x.ts';`, 'db/a.ts imports tls/x.ts: sideways'],
    ['rpc/deep/a.ts', `export * from '../../http/x.ts';`, 'rpc/deep/a.ts imports http/x.ts: sideways'],
    ['config/a.ts', `const x = await import('../daemon/x.ts');`, 'config/a.ts imports daemon/x.ts: up'],
    ['daemon/a.ts', `import '../main.ts';`, 'daemon/a.ts imports main.ts: up'],
    ['db/a.ts', `import { x } from '../../test/x.ts';`, 'db/a.ts imports ../test/x.ts: outside of src'],
    [
      'cli/a.ts',
      `import {\n  x,\n} from '../nowhere/x.ts';`,
      'cli/a.ts imports nowhere/x.ts: a folder without a row',
    ],
    ['nowhere/a.ts', `export const x = 1;`, 'nowhere/a.ts: a folder without a row'],
  ])('sees that %s may not contain %p', (file, text, violation) => {
    expect(violations(file, text)).toEqual([violation]);
  });

  test.each([
    ['db/a.ts', `await sql.begin(async (tx) => {});`],
    ['db/a.ts', `await client.reserve();`],
    ['db/a.ts', `await this.session.begin((tx) => work(tx));`],
    ['daemon/a.ts', 'await database.query((sql) => sql`SELECT 1`);'],
    ['daemon/a.ts', 'await database.query((sql) => sql<{ a: number }[]>`\n  SELECT 1`);'],
    ['cli/a.ts', `const text = 'DELETE FROM steep_repl.nodes';`],
    ['cli/a.ts', `const text = 'CREATE EXTENSION steep_repl';`],
    ['cli/a.ts', `import { dlopen } from 'bun:ffi';`],
    ['daemon/a.ts', `if (process.platform === 'win32') return;`],
    ['daemon/a.ts', `process.exit(1);`],
    ['cli/a.ts', `const child = Bun.spawn(command, { stdin: 'ignore' });\nstart({ env: childEnv() });`],
  ])('sees that %s may not contain %p', (file, text) => {
    expect(violations(file, text)).toHaveLength(1);
  });

  test.each([
    ['db/a.ts', `import { x } from './b.ts';\nimport { y } from '../lib/y.ts';\nimport net from 'node:net';`],
    [
      'db/a.ts',
      '// sql.begin( is not for us\n/* process.exit(1) */ export const x = "http://a//b"; // process.exit(1)',
    ],
    ['db/a.ts', 'export const one = sql`SELECT 1`;'],
    ['daemon/a.ts', `await this.feed.begin(this.database);`],
    ['db/files.ts', `import control from '../../extension/steep_repl.control' with { type: 'text' };`],
    ['cli/a.ts', `import pkg from '../../package.json' with { type: 'json' };\nprocess.exit(0);`],
    ['cli/a.ts', `const hint = 'run CREATE EXTENSION, then update and select';`],
    ['cli/a.ts', `Bun.spawnSync(command, {\n  env: childEnv(),\n});`],
    ['platform/a.ts', `import { dlopen } from 'bun:ffi';\nif (process.platform === 'linux') dlopen('', {});`],
  ])('finds nothing wrong with %s and %p', (file, text) => {
    expect(violations(file, text)).toEqual([]);
  });
});

function violations(file: string, text: string): string[] {
  const code = withoutComments(text);
  const broken = RULES.filter(
    ({ pattern, allowed }) =>
      pattern.test(code) && !allowed.some((place) => file === place || file.startsWith(`${place}/`)),
  ).map(({ what }) => `${file} contains ${what}`);
  const own = rowOf(file);
  if (own === undefined) return [`${file}: a folder without a row`, ...broken];
  return [...importsOf(code).flatMap((specifier) => wrongImport(file, own, specifier)), ...broken];
}

function wrongImport(file: string, own: number, specifier: string): string[] {
  if (!specifier.startsWith('.')) return [];
  const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier));
  const complaint = (why: string): string[] => [`${file} imports ${target}: ${why}`];
  if (target.startsWith('../')) {
    const embedded = target.startsWith('../extension/') && topOf(file) === 'db';
    return embedded || target === '../package.json' ? [] : complaint('outside of src');
  }
  const row = rowOf(target);
  if (row === undefined) return complaint('a folder without a row');
  if (row > own) return complaint('up');
  return row === own && topOf(target) !== topOf(file) ? complaint('sideways') : [];
}

function topOf(file: string): string {
  return file.split('/')[0] ?? file;
}

function rowOf(file: string): number | undefined {
  const row = ROWS.findIndex((folders) => folders.includes(topOf(file)));
  return row === -1 ? undefined : row;
}

/** What a file imports or exports from, statically or not, types included. */
function importsOf(code: string): string[] {
  const pattern = /\bfrom\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']/g;
  return [...code.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '');
}

/** Comments may name what code may not contain. Strings stay: SQL lives in them. */
function withoutComments(text: string): string {
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return text.replaceAll(token, (match) => (match.startsWith('/') ? ' ' : match));
}
