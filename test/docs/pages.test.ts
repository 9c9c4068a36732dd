/** README and the tutorials, followed to the letter. As root, with the compiled executable; see .ci/run. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { steepReplCommand } from '../support/cli.ts';
import { SystemdMachine } from '../support/systemd-machine.ts';
import { waitFor } from '../support/wait.ts';
import { blocksOf, serviceBlocks } from './blocks.ts';
import { Reader } from './reader.ts';

setDefaultTimeout(180_000);

const [executable = ''] = steepReplCommand;
const root = path.join(import.meta.dir, '../..');

describe('following', () => {
  test('README makes a cluster of two nodes', async () => {
    await using reader = await Reader.start(['db1', 'db2'], executable);
    expect(await reader.follow('README.md')).toBe(9);
    expect(await reader.machine('db1').ok('steep-repl nodes list')).toContain('node-b');
  });

  test('the quickstart makes two nodes and a witness, which survive the loss of the coordinator', async () => {
    await using reader = await Reader.start(['db1', 'db2', 'w1'], executable);
    expect(await reader.follow('docs/quickstart.md')).toBe(13);
    await agreed(reader, 'w1', ['node-a', 'node-b', 'witness']);
    const { node_id: before } = await coordinator(reader, 'w1');
    const [lost, left] = before === 'node-a' ? ['db1', 'db2'] : ['db2', 'db1'];
    await reader.machine(lost).ok('killall -9 steep-repl');
    let after = before;
    await waitFor(async () => {
      after = (await coordinator(reader, left)).node_id;
      return after !== null && after !== before;
    }, 'another coordinator');
    expect(['node-a', 'node-b']).toContain(after!);
  });

  test('the page about three machines makes three nodes', async () => {
    await using reader = await Reader.start(['db1', 'db2', 'db3'], executable);
    expect(await reader.follow('docs/three-nodes.md')).toBeGreaterThan(8);
    await agreed(reader, 'db3', ['node-1', 'node-2', 'node-3']);
  });

  test('what README and the quickstart say of the service makes one', async () => {
    await using machine = await SystemdMachine.boot();
    await machine.putPostgresql();
    await machine.configure({ postgresql: { host: '/run/postgresql', user: 'postgres' } });
    await machine.ok('systemctl start postgresql');
    await machine.waitFor('steep-repl init-extension', 'PostgreSQL');
    await machine.ok('steep-repl tls init');
    for (const page of ['README.md', 'docs/quickstart.md']) {
      await machine.ok('systemd-run --collect steep-repl run'); // as if from a shell
      await machine.waitFor('steep-repl status', 'the daemon in the background');
      const blocks = serviceBlocks(page);
      expect(blocks).toHaveLength(1);
      await machine.ok(`set -e; ${blocks[0]}`);
      await machine.waitFor('steep-repl status', 'the service to be well');
      expect(await machine.ok('steep-repl status')).toContain('(systemd, enabled)');
      await machine.ok('steep-repl uninstall --yes'); // or status would miss the service beside the next page’s daemon
    }
  });
});

/** Whoever came in last learns of the list a moment later than that all is well. */
async function agreed(reader: Reader, name: string, voters: string[]): Promise<void> {
  await waitFor(
    async () => {
      const known = await coordinator(reader, name);
      return known.node_id !== null && Bun.deepEquals(known.voters, voters);
    },
    `the voters ${voters.join(', ')} and a coordinator`,
  );
}

async function coordinator(
  reader: Reader,
  name: string,
): Promise<{ node_id: string | null; voters: string[] }> {
  // What is printed has lines of the daemon's log in between.
  await reader.machine(name).type('steep-repl coordinator show --json >/tmp/answer');
  const answer = readFileSync(path.join(reader.machine(name).root, 'tmp/answer'), 'utf8');
  const { node_id, voters } = JSON.parse(answer) as { node_id: string | null; voters: string[] };
  return { node_id, voters: voters.toSorted() };
}

test('README names commands of npm that there are', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const lines = blocksOf('README.md').flatMap(({ kind, text }) =>
    kind === 'npm' ? text.trim().split('\n') : [],
  );
  const names = lines.map((line) => /^npm (?:run )?([a-z]+)/.exec(line)?.[1]);
  expect(names).toEqual(['demo', 'test', 'build']);
  for (const name of names) expect(Object.keys(scripts)).toContain(name!);
});

test('every link between the pages leads somewhere', () => {
  const inDocs = readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`);
  const pages = ['README.md', 'AGENTS.md', 'CHANGELOG.md', ...inDocs.filter((name) => name.endsWith('.md'))];
  const anchors = new Map(pages.map((page) => [page, headingsOf(page)]));
  const dead = pages.flatMap((page) =>
    [
      ...readFileSync(path.join(root, page), 'utf8').matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g),
    ].flatMap(([, file = '', anchor]) => {
      const to = file === '' ? page : path.normalize(path.join(path.dirname(page), file));
      if (!path.extname(to) || !to.endsWith('.md')) return existsAsFile(to) ? [] : [`${page}: ${file}`];
      const known = anchors.get(to);
      return known && (anchor === undefined || known.has(anchor)) ? [] : [`${page}: ${file}#${anchor ?? ''}`];
    }),
  );
  expect(dead).toEqual([]);
});

/** As GitHub makes them. */
function headingsOf(page: string): Set<string> {
  const text = readFileSync(path.join(root, page), 'utf8').replaceAll(/```[^]*?```/g, '');
  return new Set(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function existsAsFile(name: string): boolean {
  try {
    return readdirSync(path.dirname(path.join(root, name))).includes(path.basename(name));
  } catch {
    return false;
  }
}
