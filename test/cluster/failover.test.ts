/** Compiled daemons with real PostgreSQL 18s, each on a machine of its own: the coordinator is lost in many ways. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { waitFor } from '../support/wait.ts';
import { statuses, TestCluster } from './cluster.ts';
import { deaths, strike, Timelines } from './deaths.ts';

setDefaultTimeout(120_000);

describe('three nodes', () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await TestCluster.start({ nodes: 3 });
  });
  const timelines = new Timelines();
  afterAll(async () => {
    timelines.print();
    await cluster[Symbol.asyncDispose]();
  });

  test.each(Object.entries(deaths))(
    '%s: another one coordinates, and the old one follows',
    async (name, death) => {
      timelines.add(name, await strike(cluster, death));
      expect(cluster.wrong).toEqual([]);
    },
  );

  test('a coordinator that is stopped lets the others go on at once, without waiting for its lease', async () => {
    const victim = await cluster.settled();
    const others = cluster.nodes.filter((node) => node !== victim);
    expect(await victim.daemon.stop()).toBe(0);
    await waitFor(async () => {
      const now = await cluster.agreed(others);
      return now !== undefined && now !== victim;
    }, 'another coordinator');
    // Who waits for the lease to run out sees the other one degraded first.
    for (const { daemon } of others) {
      const told = daemon.lines.slice(daemon.lines.findLastIndex(({ msg }) => msg === 'no coordinator'));
      expect(told.some(({ msg, peer }) => msg === 'peer unreachable' && peer === victim.id)).toBe(false);
      expect(told.some(({ msg }) => msg === 'coordinator' || msg === 'this node coordinates')).toBe(true);
    }
    victim.start();
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });

  test('a coordinator whose PostgreSQL hangs resigns, and its daemon answers all the time', async () => {
    const victim = await cluster.settled();
    victim.server!.freeze('SIGSTOP');
    let answered = 0;
    await waitFor(async () => {
      const view = await victim.ask<{ node_id: string | null }>('coordinator.get');
      if (view) answered += 1;
      return view?.node_id !== undefined && view.node_id !== null && view.node_id !== victim.id;
    }, 'another coordinator');
    expect(answered).toBeGreaterThan(10);
    expect(victim.daemon.lines.findLast(({ msg }) => msg === 'this node coordinates no more')).toMatchObject({
      reason: 'its PostgreSQL is away',
    });
    victim.server!.freeze('SIGCONT');
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });

  test('a line between two followers that breaks changes no coordinator', async () => {
    const coordinator = await cluster.settled();
    const before = await coordinator.ask<{ term: number }>('coordinator.get');
    const [one, other] = cluster.nodes.filter((node) => node !== coordinator);
    one!.host.cutFrom(other!.host);
    await waitFor(
      async () => (await statuses(one!)).get(other!.id) === 'unreachable',
      'them to miss each other',
    );
    expect((await statuses(coordinator)).get(other!.id)).toBe('healthy');
    expect((await cluster.agreed())?.id).toBe(coordinator.id);
    one!.host.mend();
    await cluster.settled();
    expect(await coordinator.ask('coordinator.get')).toMatchObject({ term: before!.term });
    expect(cluster.wrong).toEqual([]);
  });

  test('a majority that is gone leaves no coordinator, and its return brings one', async () => {
    const coordinator = await cluster.settled();
    const others = cluster.nodes.filter((node) => node !== coordinator);
    for (const node of others) node.host.cut('both ways');
    await waitFor(
      async () => (await coordinator.ask<{ node_id: string | null }>('coordinator.get'))?.node_id === null,
      'it to know that it coordinates no more',
    );
    const status = await coordinator.ask<{ issues: { message: string }[] }>('status.get');
    expect(status?.issues.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('no coordinator'),
    );
    for (const node of others) node.host.mend();
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });
});
