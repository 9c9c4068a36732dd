/** When the majority is lost for good: `cluster recover` on each survivor makes a cluster of those that are left. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { steepReplCommand } from '../../support/cli.ts';
import { waitFor } from '../../support/wait.ts';
import { TestNode } from '../rpc/support.ts';

const SURVIVORS = 'node-a,node-b';
let a: TestNode;
let b: TestNode;
let c: TestNode;
let old: string;
let recovered: string;

beforeAll(async () => {
  a = await TestNode.start('node-a');
  const join = [a.address];
  b = await TestNode.start('node-b', { ca: a, join });
  await b.counts('node-a', 'node-b');
  c = await TestNode.start('node-c', { ca: a, join });
  for (const node of [a, b, c]) {
    await node.counts('node-a', 'node-b', 'node-c');
    await node.sees('node-a healthy', 'node-b healthy', 'node-c healthy');
  }
  old = clusterOf(a);
});

afterAll(async () => {
  for (const node of [c, b, a]) await node[Symbol.asyncDispose]();
});

function stateOf(node: TestNode): string {
  return readFileSync(path.join(node.home.stateDir, 'cluster.json'), 'utf8');
}

function clusterOf(node: TestNode): string {
  return (JSON.parse(stateOf(node)) as { cluster_id: string }).cluster_id;
}

/** How many belong to the cluster. */
async function sizeOf(node: TestNode): Promise<number> {
  return (await node.ask<{ node: { cluster_size: number } }>('status.get')).node.cluster_size;
}

/** The command on a terminal, where somebody answers its question. */
async function typed(
  node: TestNode,
  args: string[],
  answer: string,
): Promise<{ code: number; screen: string }> {
  let screen = '';
  let asked = false;
  const child = Bun.spawn([...steepReplCommand, ...args, '--config', node.home.configFile], {
    env: { ...node.home.env(), TERM: 'dumb' },
    cwd: node.home.folder,
    timeout: 90_000,
    terminal: {
      cols: 200,
      data(terminal, bytes) {
        screen += new TextDecoder().decode(bytes);
        if (asked || !screen.includes('to go on: ')) return;
        asked = true;
        terminal.write(`${answer}\r`);
      },
    },
  });
  const code = await child.exited;
  child.terminal?.close();
  return { code, screen };
}

test('is refused while the daemon runs', async () => {
  const { code, stdout, stderr } = await a.cli(['cluster', 'recover', '--survivors', SURVIVORS, '--yes']);
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toStartWith('steep-repl: the daemon runs: ');
  expect(stderr).toEndWith('\n  hint: steep-repl stop, then try again\n');
  expect(clusterOf(a)).toBe(old);
});

test('is refused for survivors that cannot be, naming them, and without somebody who confirms: exit 2', async () => {
  for (const node of [c, b, a]) await node.daemon.stop();
  const before = stateOf(a);
  const recover = async (...args: string[]): Promise<unknown> => await a.cli(['cluster', 'recover', ...args]);
  expect(await recover('--survivors', 'node-a,node-x', '--yes')).toEqual({
    code: 2,
    stdout: '',
    stderr: "steep-repl: 'node-x' is not a node of this cluster\n  hint: its nodes: node-a, node-b, node-c\n",
  });
  expect(await recover('--survivors', 'node-b,node-c', '--yes')).toEqual({
    code: 2,
    stdout: '',
    stderr:
      'steep-repl: node-a is not among the survivors node-b, node-c\n  hint: run it on each survivor, with the same list\n',
  });
  expect(await recover('--yes')).toMatchObject({ code: 2, stdout: '' });
  const unconfirmed = await a.cli(['cluster', 'recover', '--survivors', SURVIVORS]);
  expect(unconfirmed).toMatchObject({ code: 2, stdout: '' });
  expect(unconfirmed.stderr).toContain('node-c is refused from now on');
  expect(unconfirmed.stderr).toEndWith('\n  hint: without a terminal to ask on:  --yes\n');
  expect(stateOf(a)).toBe(before);
});

test('asks for the name of the node, and does nothing for any other answer: exit 1', async () => {
  const before = stateOf(a);
  for (const answer of ['y', 'yes', 'node-b', '']) {
    const { code, screen } = await typed(a, ['cluster', 'recover', '--survivors', SURVIVORS], answer);
    expect([answer, code]).toEqual([answer, 1]);
    expect(screen).toContain('node-c is refused from now on; what only they had is lost to the cluster.');
    expect(screen).toContain('Type node-a to go on: ');
    expect(screen).toContain('steep-repl: nothing was done');
    expect(stateOf(a)).toBe(before);
  }
});

test('makes a cluster with a new id of the survivors, the same on each: exit 0', async () => {
  const { code, screen } = await typed(a, ['cluster', 'recover', '--survivors', SURVIVORS], 'node-a');
  recovered = clusterOf(a);
  expect(recovered).not.toBe(old);
  expect(code).toBe(0);
  expect(screen).toContain(`node-a, node-b become cluster ${recovered}.`);
  expect(screen).toContain(`node-a belongs to cluster ${recovered}\r\n`);
  expect(screen).toContain('now the same on node-b, then start the daemons');
  // In another order: it is the same list.
  const other = await b.cli(['cluster', 'recover', '--survivors', 'node-b, node-a', '--yes', '--json']);
  expect(other).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(other.stdout)).toEqual({ cluster_id: recovered, survivors: ['node-b', 'node-a'] });
  expect(clusterOf(b)).toBe(recovered);
});

test('lets the survivors elect a coordinator, who are all that there is', async () => {
  await Promise.all([a.up(), b.up()]);
  for (const node of [a, b]) {
    await node.counts('node-a', 'node-b');
    expect(await sizeOf(node)).toBe(2);
  }
  let coordinator: string | null = null;
  await waitFor(async () => {
    coordinator = (await a.ask<{ node_id: string | null }>('coordinator.get')).node_id;
    return coordinator !== null;
  }, 'a coordinator');
  const term = await a.follows(coordinator!);
  expect(term).toBeGreaterThan(0);
  expect(await b.follows(coordinator!)).toBe(term);
  for (const node of [a, b]) {
    await node.shows();
    expect(await node.ask<object>('coordinator.get')).toMatchObject({
      reachable_voters: ['node-a', 'node-b'],
    });
    expect(clusterOf(node)).toBe(recovered);
    await node.sees('node-a healthy', 'node-b healthy'); // and nobody who is lost
  }
});

test('keeps the old members out, who neither disturb it nor coordinate', async () => {
  const { node_id, term } = await a.ask<{ node_id: string; term: number }>('coordinator.get');
  await c.up();
  await waitFor(
    async () => a.refusals.some(({ reason }) => String(reason).includes(`node-c belongs to cluster ${old}`)),
    'node-c to be refused',
  );
  await waitFor(
    async () =>
      (await c.issues()).some(
        ({ message }) => message === 'no coordinator: 1 of 3 voters answers, 2 are needed',
      ),
    'node-c to find no majority',
  );
  for (const node of [a, b]) {
    expect(await sizeOf(node)).toBe(2);
    expect(await node.ask<object>('coordinator.get')).toMatchObject({
      node_id,
      term,
      voters: ['node-a', 'node-b'],
    });
  }
  expect(c.daemon.count('this node coordinates')).toBe(0);
});

test('lets one of them join as a new node once its state is gone', async () => {
  await c.daemon.stop();
  rmSync(c.home.stateDir, { recursive: true });
  await c.up();
  for (const node of [a, b, c]) {
    await node.sees('node-a healthy', 'node-b healthy', 'node-c healthy');
    await node.counts('node-a', 'node-b', 'node-c');
    expect(clusterOf(node)).toBe(recovered);
  }
});
