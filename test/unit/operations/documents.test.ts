import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { commands } from '../../../src/cli/commands.ts';
import { routes } from '../../../src/http/routes.ts';
import { ipcCodes } from '../../../src/ipc/errors.ts';
import { operations, streams } from '../../../src/operations/index.ts';
import { commandShapes, methodShapes } from '../../support/shapes.ts';

function document(name: string): string {
  return readFileSync(path.join(import.meta.dir, '../../../docs', name), 'utf8');
}

function found(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, name]) => name!);
}

function inOrder(names: Iterable<string>): string[] {
  return [...new Set(names)].toSorted((a, b) => a.localeCompare(b));
}

describe('docs/ipc.md', () => {
  const text = document('ipc.md');

  test('has a chapter for each method, and for no others; mend it by one that begins with ### `method`', () => {
    expect(inOrder(found(text, /^### `([\w.]+)`$/gm))).toEqual(
      inOrder(Object.keys({ ...operations, ...streams })),
    );
  });

  test('says of each method that changes something that it does, and of no other; mend it by the words: Changes something.', () => {
    const chapters = text.split(/^### /m).slice(1);
    const said = chapters
      .filter((chapter) => chapter.includes('Changes something.'))
      .map((chapter) => /`([\w.]+)`/.exec(chapter)![1]!);
    const changing = Object.entries({ ...operations, ...streams }).filter(([, { changes }]) => changes);
    expect(inOrder(said)).toEqual(inOrder(changing.map(([name]) => name)));
  });

  test('names each parameter in the chapter of its method', () => {
    for (const [name, { params }] of Object.entries({ ...operations, ...streams })) {
      const chapter = text.split(`### \`${name}\``)[1]?.split('\n### ')[0] ?? '';
      for (const key of Object.keys(params.shape))
        expect([name, key, new RegExp(`\`${key}\\??\``).test(chapter)]).toEqual([name, key, true]);
    }
  });

  test('lists the error codes', () => {
    const table = text.split('## Errors')[1]!.split('## Methods')[0]!;
    expect(inOrder(found(table, /^\| `(\w+)` +\|/gm))).toEqual(inOrder(Object.values(ipcCodes)));
  });
});

test('docs/http.md lists the routes', () => {
  expect(inOrder(found(document('http.md'), /^\| `GET (\/\w+)` +\|/gm))).toEqual(
    inOrder(Object.keys(routes)),
  );
});

describe('docs/output.schema.json', () => {
  test('has each method of IPC; mend it in methodShapes of test/support/shapes.ts, then: npm run docs', () => {
    expect(inOrder(Object.keys(methodShapes))).toEqual(inOrder(Object.keys({ ...operations, ...streams })));
  });

  test('has each command that takes --json; mend it in commandShapes of test/support/shapes.ts, then: npm run docs', async () => {
    expect(inOrder(Object.keys(commandShapes))).toEqual(inOrder(await printingJson()));
  });
});

test('docs/commands.md names each command that takes --json; mend it by a row of its table JSON, which is written by hand', async () => {
  const chapter = document('commands.md').split('## JSON')[1]!.split('\n## ')[0]!;
  const rows = [...chapter.matchAll(/^\| (`[^|]+`) +\|/gm)].flatMap(([, cell]) => found(cell!, /`([^`]+)`/g));
  expect(inOrder(rows)).toEqual(inOrder(await printingJson()));
});

async function printingJson(): Promise<string[]> {
  const loaded = await Promise.all(
    Object.entries(commands).map(async ([name, { load }]) => ({ name, args: (await load()).command.args })),
  );
  return loaded.filter(({ args }) => 'json' in args).map(({ name }) => name);
}
