/** A node whose memory of its votes is gone, or older than it should be: it does not vote until somebody says so. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '../../support/wait.ts';
import { TestNode } from '../rpc/support.ts';

const ALL = ['node-a', 'node-b', 'node-c'] as const;
const FORGOTTEN = 'state_dir is new or older than PostgreSQL remembers: this node does not vote';
let nodes: TestNode[];
let a: TestNode;
let b: TestNode;
let c: TestNode;

beforeAll(async () => {
  a = await TestNode.start('node-a');
  const join = [a.address];
  b = await TestNode.start('node-b', { ca: a, join });
  await b.counts('node-a', 'node-b'); // voters are shown in the order in which they joined
  c = await TestNode.start('node-c', { ca: a, join });
  nodes = [a, b, c];
  await settled();
});

afterAll(async () => {
  for (const node of nodes) await node[Symbol.asyncDispose]();
});

interface Remembered {
  instance_id: string;
  serial: number;
  others: string[];
}

const stateFile = (node: TestNode): string => path.join(node.home.stateDir, 'cluster.json');
const stateOf = (node: TestNode): { instance_id: string; serial: number } =>
  JSON.parse(readFileSync(stateFile(node), 'utf8')) as { instance_id: string; serial: number };

/** What a node's PostgreSQL remembers of its state_dir. */
async function remembered(node: TestNode): Promise<Remembered | undefined> {
  const [row] = await node.server.query(
    `SELECT value FROM steep_repl.coordinator_state WHERE key = 'cluster.daemon'`,
  );
  return row?.['value'] as Remembered | undefined;
}

/** All vote, all know it, and each PostgreSQL remembers what its node last wrote. */
async function settled(): Promise<void> {
  await Promise.all(nodes.map((node) => node.counts(...ALL)));
  await Promise.all(nodes.map((node) => node.sees(...ALL.map((id) => `${id} healthy`))));
  const [coordinator] = await Promise.all(
    nodes.map(async (node) => (await node.ask<{ node_id: string | null }>('coordinator.get')).node_id),
  );
  await Promise.all(nodes.map((node) => node.follows(coordinator ?? 'node-a')));
  for (const node of nodes)
    await waitFor(async () => {
      const state = await remembered(node);
      return state?.others.length === 2 && state.serial === stateOf(node).serial;
    }, `PostgreSQL of ${node.id} to remember its state`);
}

/** node-b is a member that does not vote, and everybody says so. */
async function suspended(): Promise<void> {
  await Promise.all(nodes.map((node) => node.sees(...ALL.map((id) => `${id} healthy`))));
  await Promise.all(nodes.map((node) => node.counts('node-a', 'node-c')));
  const issue = {
    severity: 'warning',
    message: 'node-b does not vote: its state_dir was lost, or is an old copy',
    hint: 'steep-repl nodes readmit node-b',
  };
  for (const node of nodes) {
    await node.shows(issue);
    const { code, stdout } = await node.cli(['status']);
    expect([node.id, code]).toEqual([node.id, 4]);
    expect(stdout).toContain(`\n! ${issue.message}\n  hint: ${issue.hint}\n`);
    const { nodes: rows } = await node.ask<{ nodes: { node_id: string; votes: boolean }[] }>('nodes.list');
    expect(rows.map(({ node_id, votes }) => [node_id, votes])).toEqual([
      ['node-a', true],
      ['node-b', false],
      ['node-c', true],
    ]);
  }
}

async function readmitted(on: TestNode): Promise<void> {
  expect(await on.cli(['nodes', 'readmit', 'node-b'])).toEqual({
    code: 0,
    stdout: 'node-b may come back\n',
    stderr: '',
  });
  await settled();
  for (const node of nodes) await node.shows();
}

test('a node that starts with its own state_dir votes at once, and warns of nothing', async () => {
  const before = stateOf(b);
  await b.restart();
  await b.counts(...ALL);
  await b.shows();
  expect(b.daemon.count(FORGOTTEN)).toBe(0);
  expect(stateOf(b).instance_id).toBe(before.instance_id);
  await settled();
});

test('one that lost it finds its cluster by what PostgreSQL remembers, and does not vote', async () => {
  const { instance_id: before } = stateOf(b);
  await b.daemon.stop();
  rmSync(b.home.stateDir, { recursive: true });
  await b.restart({ cluster: {} });
  expect(await b.daemon.logged(FORGOTTEN)).toMatchObject({
    level: 'warn',
    component: 'cluster',
    hint: 'on another node:  steep-repl nodes readmit node-b',
  });
  await suspended();
  expect(stateOf(b).instance_id).not.toBe(before);
});

test('its answer is no vote: with it alone no other node can coordinate', async () => {
  await c.daemon.stop();
  for (const node of [a, b])
    await waitFor(
      async () =>
        (await node.issues()).some(
          ({ message }) => message === 'no coordinator: 1 of 2 voters answers, 2 are needed',
        ),
      `${node.id} to be without a majority`,
    );
  for (const node of [a, b])
    expect(await node.ask<object>('coordinator.get')).toMatchObject({
      node_id: null,
      term: null,
      voters: ['node-a', 'node-c'],
    });
  await c.up();
  await waitFor(
    async () => (await a.ask<{ node_id: string | null }>('coordinator.get')).node_id !== null,
    'a coordinator again',
  );
  await suspended();
});

test('nodes readmit on another node lets it vote: then its vote and one other are a majority', async () => {
  await readmitted(c);
  await c.daemon.stop();
  await waitFor(
    async () => (await a.nodes()).includes('node-c unreachable'),
    'node-c to be silent for longer than a lease',
  );
  await waitFor(async () => {
    const [ours, theirs] = await Promise.all(
      [a, b].map((node) => node.ask<{ node_id: string | null }>('coordinator.get')),
    );
    return ours!.node_id !== null && ours!.node_id === theirs!.node_id;
  }, 'node-a and node-b to have a coordinator');
  await c.up();
  await settled();
});

test('one whose state_dir was put back from an older copy does not vote either, under a new instance id', async () => {
  await b.daemon.stop();
  const copy = path.join(b.home.folder, 'cluster.json.old');
  copyFileSync(stateFile(b), copy);
  await b.up();
  await settled();
  // Lists that it has to store.
  for (const status of ['offline', 'online']) await a.ask('nodes.set_status', { node_id: 'node-c', status });
  await settled();
  await b.daemon.stop();
  const { instance_id: before, serial } = stateOf(b);
  copyFileSync(copy, stateFile(b));
  expect(stateOf(b)).toMatchObject({ instance_id: before });
  expect(stateOf(b).serial).toBeLessThan(serial);
  await b.up();
  await b.daemon.logged(FORGOTTEN);
  await suspended();
  expect(stateOf(b).instance_id).not.toBe(before);
  await readmitted(a);
});

test('a node that nobody could have counted a vote of founds its cluster anew', async () => {
  await using alone = await TestNode.start('alone');
  await alone.follows('alone');
  const before = stateOf(alone);
  await waitFor(
    async () => (await remembered(alone))?.serial === stateOf(alone).serial,
    'PostgreSQL to remember',
  );
  await alone.daemon.stop();
  rmSync(alone.home.stateDir, { recursive: true });
  await alone.up();
  expect(await alone.follows('alone')).toBe(1);
  expect(alone.daemon.count(FORGOTTEN)).toBe(0);
  expect(stateOf(alone).instance_id).not.toBe(before.instance_id);
});

test('one that lost it while nobody else is up founds nothing, however often it starts', async () => {
  const addresses = [a, b].map(({ address }) => address);
  for (const node of nodes) await node.daemon.stop();
  rmSync(c.home.stateDir, { recursive: true });
  for (let start = 1; start <= 2; start += 1) {
    await c.up();
    await waitFor(async () => {
      const { issues } = await c.ask<{ issues: { message: string }[] }>('status.get');
      return issues.some(({ message }) => message.startsWith('state_dir was lost'));
    }, `start ${start} to say that the state was lost`);
    expect(stateOf(c)).toMatchObject({ cluster_id: null });
    expect((await remembered(c))?.others.toSorted()).toEqual(addresses.toSorted());
    await c.daemon.stop();
  }
});
