/** Five daemons: two may be lost at once, one may be far away, and lines may lose what they carry. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { waitFor } from '../support/wait.ts';
import { type ClusterNode, TestCluster } from './cluster.ts';
import { deaths, strike, Timelines } from './deaths.ts';

setDefaultTimeout(120_000);

const DELAY_MS = 100;
let cluster: TestCluster;
let far: ClusterNode;

beforeAll(async () => {
  cluster = await TestCluster.start({ nodes: 5, delay: DELAY_MS });
  far = cluster.node('node-e');
});
const timelines = new Timelines();
afterAll(async () => {
  timelines.print();
  await cluster[Symbol.asyncDispose]();
});

test('a node that is far away is a voter like any other', async () => {
  const coordinator = await cluster.settled();
  const list = await coordinator.ask<{ nodes: { node_id: string; round_trip_ms: number; votes: boolean }[] }>(
    'nodes.list',
  );
  const seen = list?.nodes.find(({ node_id }) => node_id === far.id);
  expect(seen?.round_trip_ms).toBeGreaterThanOrEqual(2 * DELAY_MS);
  expect(seen?.votes).toBe(true);
});

test.each(Object.entries(deaths))('%s: another one is agreed on by all', async (name, death) => {
  timelines.add(name, await strike(cluster, death));
  expect(cluster.wrong).toEqual([]);
});

test('the coordinator and another one die at once: the other three go on', async () => {
  const first = await cluster.settled();
  const second = cluster.nodes.find((node) => node !== first && node !== far)!;
  const others = cluster.nodes.filter((node) => node !== first && node !== second);
  await Promise.all([first.daemon.kill(), second.daemon.kill()]);
  await waitFor(async () => {
    const now = await cluster.agreed(others);
    return now !== undefined && others.includes(now);
  }, 'another coordinator');
  first.start();
  second.start();
  await cluster.settled();
  expect(cluster.wrong).toEqual([]);
});

test('a line that loses every fifth packet makes no two coordinators, and is well when it is mended', async () => {
  const coordinator = await cluster.settled();
  const follower = cluster.nodes.find((node) => node !== coordinator && node !== far)!;
  for (const { host } of [coordinator, follower]) host.cut('lossy');
  await Bun.sleep(10_000);
  for (const { host } of [coordinator, follower]) host.mend();
  await cluster.settled();
  expect(cluster.wrong).toEqual([]);
});
