import { afterEach, beforeAll, beforeEach, describe, expect, jest, test } from 'bun:test';
import { renameSync, rmSync } from 'node:fs';
import { SteepError } from '../../../src/lib/errors.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import type { TlsMaterial } from '../../../src/tls/material.ts';
import { type TlsWatch, type WatchOptions, watchTlsMaterial } from '../../../src/tls/watch.ts';
import { waitFor } from '../../support/wait.ts';
import { loaded, NodeFolder, type Pair, serialOf, TestCa } from './certificates.ts';

const LOOK_MS = 10;
let ca: TestCa;
let first: Pair;
let second: Pair;
beforeAll(async () => {
  ca = await TestCa.make('ca');
  [first, second] = await Promise.all([ca.issue({ node: 'node-a' }), ca.issue({ node: 'node-a' })]);
});

let folder: NodeFolder;
let stack: DisposableStack;
let changes: string[];
let problems: string[];
beforeEach(() => {
  stack = new DisposableStack();
  folder = stack.use(new NodeFolder());
  changes = [];
  problems = [];
});
afterEach(() => stack.dispose());

function watch(current: TlsMaterial | undefined, more: Partial<WatchOptions> = {}): TlsWatch {
  return stack.use(
    watchTlsMaterial({
      files: folder.files,
      platform: thisPlatform(),
      current,
      onChange: ({ certificate }) => changes.push(certificate.serial),
      onInvalid: ({ message }) => problems.push(message),
      interval: LOOK_MS,
      ...more,
    }),
  );
}

/** Long enough for several looks: what should not happen would have. */
async function someLooks(): Promise<void> {
  await Bun.sleep(20 * LOOK_MS);
}

/** As tools do it: one file after the other, each by a rename. */
function replace(pair: Pair): void {
  for (const [name, text] of [
    ['node.key', pair.key],
    ['node.crt', pair.cert],
  ] as const)
    renameSync(folder.write(`${name}.new`, text), `${folder.path}/${name}`);
}

describe('watching certificates', () => {
  test('says nothing while nothing changes', async () => {
    watch(loaded(folder.install(first, ca.pem)));
    await someLooks();
    folder.install(first, ca.pem); // the same again
    await someLooks();
    expect({ changes, problems }).toEqual({ changes: [], problems: [] });
  });

  test('sees a replaced pair, again and again', async () => {
    const watching = watch(loaded(folder.install(first, ca.pem)));
    for (const [index, pair] of [second, first, second].entries()) {
      replace(pair);
      await waitFor(() => changes.length === index + 1, 'the change');
      expect(watching.material?.certificate.serial).toBe(serialOf(pair));
    }
    expect(problems).toEqual([]);
  });

  test('sees files that appear at last', async () => {
    const watching = watch(undefined);
    await someLooks();
    expect(watching.problem).toBeUndefined();
    folder.install(first, ca.pem);
    await waitFor(() => changes.length === 1, 'the first material');
    expect(problems).toEqual([]);
  });

  test('sees a changed CA', async () => {
    const other = await TestCa.make('other');
    watch(loaded(folder.install(first, ca.pem)));
    folder.write('ca.crt', ca.pem + other.pem);
    await waitFor(() => changes.length === 1, 'the change');
  });

  test('does not judge a pair of which it has seen one half only once', async () => {
    jest.useFakeTimers();
    stack.defer(() => jest.useRealTimers());
    const look = (): void => void jest.advanceTimersByTime(LOOK_MS);
    watch(loaded(folder.install(first, ca.pem)));
    look();
    look();
    folder.write('node.key', second.key);
    look();
    folder.write('node.crt', second.cert);
    look();
    expect({ changes, problems }).toEqual({ changes: [], problems: [] });
    look();
    expect({ changes, problems }).toEqual({ changes: [serialOf(second)], problems: [] });
  });

  test('keeps what it has when a broken file comes, and reports it once', async () => {
    const watching = watch(loaded(folder.install(first, ca.pem)));
    folder.write('node.crt', 'garbage');
    await waitFor(() => problems.length > 0, 'the report');
    await someLooks();
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('node.crt holds no certificate');
    expect(watching.material?.certificate.serial).toBe(serialOf(first));
    folder.write('node.crt', second.cert); // of another key
    await waitFor(() => problems.length > 1, 'the second report');
    expect(watching.problem?.message).toContain('does not belong');
    folder.write('node.crt', first.cert);
    await waitFor(() => watching.problem === undefined, 'the end of the problem');
    await someLooks();
    expect(problems).toHaveLength(2);
    expect(changes).toEqual([]);
  });

  test('keeps what it has when files vanish, and says so', async () => {
    const watching = watch(loaded(folder.install(first, ca.pem)));
    rmSync(folder.files.ca_file);
    await waitFor(() => problems.length === 1, 'the report');
    expect(problems[0]).toContain(folder.files.ca_file);
    expect(watching.material).toBeDefined();
  });

  test('sees that others may read the key from now on', async () => {
    watch(loaded(folder.install(first, ca.pem)));
    folder.write('node.key', first.key, 0o644);
    await waitFor(() => problems.length === 1, 'the report');
    expect(problems[0]).toContain('others may read this key');
  });

  test('takes a certificate when its time has come', async () => {
    watch(loaded(folder.install(first, ca.pem)));
    const soon = Math.ceil(Date.now() / 1000 + 1.5) * 1000; // certificates know whole seconds
    const pair = await ca.issue({ node: 'node-a', from: (soon - Date.now()) / 86_400_000 });
    folder.install(pair, ca.pem);
    await waitFor(() => changes.length === 1, 'its time');
    expect(problems.length).toBeGreaterThan(0);
  });

  test('counts new material as not in force when it could not be put in force', async () => {
    let attempts = 0;
    const watching = watch(loaded(folder.install(first, ca.pem)), {
      onChange: () => {
        attempts += 1;
        if (attempts < 3) throw new SteepError('FAILED', 'the door does not take it');
      },
    });
    replace(second);
    await waitFor(() => watching.problem !== undefined, 'the problem');
    expect(watching.material?.certificate.serial).toBe(serialOf(first));
    await waitFor(() => watching.problem === undefined, 'the third attempt');
    expect(problems).toEqual(['the door does not take it']);
    expect(watching.material?.certificate.serial).toBe(serialOf(second));
  });

  test('judges at once when told to, and throws what is wrong', () => {
    const watching = watch(loaded(folder.install(first, ca.pem)), { interval: 3_600_000 });
    replace(second);
    watching.reload();
    expect(changes).toEqual([serialOf(second)]);
    folder.write('ca.crt', '');
    expect(() => watching.reload()).toThrow('holds no CA certificate');
    expect(watching.material?.certificate.serial).toBe(serialOf(second));
  });

  test('ends with its disposal', async () => {
    const watching = watch(loaded(folder.install(first, ca.pem)));
    watching[Symbol.dispose]();
    replace(second);
    await someLooks();
    expect(changes).toEqual([]);
  });
});
