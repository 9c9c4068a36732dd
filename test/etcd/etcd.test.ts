/** Compiled daemons with real PostgreSQL 18s and a real etcd of three members, each on a machine of its own. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type ClusterNode, TestCluster, type View } from '../cluster/cluster.ts';
import { deaths, strike } from '../cluster/deaths.ts';
import { waitFor } from '../support/wait.ts';
import { type EtcdMember, TestEtcd } from './etcd.ts';

setDefaultTimeout(180_000);

describe('three nodes, a witness and an etcd of three members', () => {
  let cluster: TestCluster;
  let etcd: TestEtcd;
  beforeAll(async () => {
    cluster = await TestCluster.start({
      nodes: 3,
      witness: true,
      beside: async (network) => {
        const hosts = [network.host(), network.host(), network.host()];
        etcd = await TestEtcd.start(
          hosts.map(({ address, namespace }) => ({
            address,
            prefix: namespace.prefix,
            client: 2379,
            peer: 2380,
          })),
        );
        return { election: { store: 'etcd', etcd: etcd.config } };
      },
    });
  });
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await etcd?.[Symbol.asyncDispose]();
  });

  /** Waits until the one that coordinates is another one. */
  const replaced = async (victim: ClusterNode): Promise<ClusterNode> => {
    let now: ClusterNode | undefined;
    await waitFor(async () => {
      now = await cluster.agreed(cluster.nodes.filter((node) => node !== victim));
      return now !== undefined && now !== victim;
    }, `a successor of ${victim.id}`);
    return now!;
  };
  const issuesOf = async (node: ClusterNode): Promise<string[]> => {
    const status = await node.ask<{ issues: { message: string; hint: string | null }[] }>('status.get');
    return status?.issues.map(({ message, hint }) => `${message}; ${hint}`) ?? [];
  };
  const keyOf = (name: string) => {
    const found = [...etcd.keys()].find(([key]) => key.endsWith(`/${name}`));
    return found?.[1];
  };

  test('agree on the one that made the key, and its revision is the term', async () => {
    const coordinator = await cluster.settled();
    const { term } = (await coordinator.ask<View>('coordinator.get'))!;
    expect(keyOf('coordinator')?.created).toBe(term!);
    expect(JSON.parse(keyOf('coordinator')!.value)).toMatchObject({ node_id: coordinator.id });
    const { nodes } = JSON.parse(keyOf('members')!.value) as { nodes: object[] };
    for (const { id } of cluster.nodes)
      expect(nodes).toContainEqual(expect.objectContaining({ node_id: id, state: 'member', vote: 'yes' }));
  });

  test.each(Object.entries(deaths))(
    '%s: another one coordinates, and the old one follows',
    async (name, death) => {
      const { seen, replaced: after } = await strike(cluster, death);
      console.log(
        `${name}: seen after ${(seen / 1000).toFixed(1)} s, replaced after ${(after / 1000).toFixed(1)} s`,
      );
      expect(cluster.wrong).toEqual([]);
    },
  );

  test('a coordinator whose PostgreSQL hangs resigns', async () => {
    const victim = await cluster.settled();
    victim.server!.freeze('SIGSTOP');
    await replaced(victim);
    expect(victim.daemon.lines.findLast(({ msg }) => msg === 'this node coordinates no more')).toMatchObject({
      reason: 'its PostgreSQL is away',
    });
    victim.server!.freeze('SIGCONT');
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });

  test('hand over to the one that is named, whatever its rank', async () => {
    const before = await cluster.settled();
    const named = cluster.nodes.findLast((node) => node !== before && node.server)!;
    const began = performance.now();
    await before.ask('coordinator.transfer', { node_id: named.id }, 10_000);
    expect(await replaced(before)).toBe(named);
    console.log(`transfer: ${((performance.now() - began) / 1000).toFixed(1)} s`);
    await cluster.settled();
    expect(keyOf('successor')).toBeUndefined();
    expect(cluster.wrong).toEqual([]);
  });

  test('a coordinator that is put offline resigns, also when another node is told so', async () => {
    const victim = await cluster.settled();
    const other = cluster.nodes.find((node) => node !== victim)!;
    await other.ask('nodes.set_status', { node_id: victim.id, status: 'offline' }, 10_000);
    const next = await replaced(victim);
    await waitFor(
      async () => (await victim.ask<View>('coordinator.get'))?.node_id === next.id,
      'it to follow',
    );
    expect(JSON.parse(keyOf('members')!.value).nodes).toContainEqual(
      expect.objectContaining({ node_id: victim.id, state: 'offline' }),
    );
    await victim.ask('nodes.set_status', { node_id: victim.id, status: 'online' }, 10_000);
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });

  const losses: [string, (etcd: TestEtcd) => EtcdMember][] = [
    ['follows', (those) => those.members.find((member) => member !== those.leader())!],
    ['leads the others', (those) => those.leader()],
  ];
  test.each(losses)(
    'a member of etcd that %s and dies, or hangs, changes no coordinator',
    async (_what, pick) => {
      const coordinator = await cluster.settled();
      const { term } = (await coordinator.ask<View>('coordinator.get'))!;
      const dead = pick(etcd);
      await dead.kill();
      await Bun.sleep(6000); // twice the lease: whatever comes of it has come
      await cluster.settled();
      expect(await coordinator.ask<View>('coordinator.get')).toMatchObject({ node_id: coordinator.id, term });
      etcd.restart(dead);
      await etcd.healthy();
      const hung = pick(etcd);
      hung.signal('SIGSTOP');
      await Bun.sleep(6000);
      await cluster.settled();
      expect(await coordinator.ask<View>('coordinator.get')).toMatchObject({ node_id: coordinator.id, term });
      hung.signal('SIGCONT');
      await etcd.healthy();
      expect(cluster.wrong).toEqual([]);
    },
  );

  test('an etcd without a majority leaves no coordinator and says so; with it one is back', async () => {
    const coordinator = await cluster.settled();
    const [one, two] = etcd.members;
    await Promise.all([one!.kill(), two!.kill()]);
    await waitFor(async () => {
      const views = await Promise.all(cluster.nodes.map((node) => node.ask<View>('coordinator.get')));
      return views.every((view) => view?.node_id === null);
    }, 'all to know that there is none');
    for (const node of cluster.nodes) {
      await waitFor(
        async () => (await issuesOf(node)).some((issue) => issue.includes('etcd does not answer')),
        'the issue',
      );
      const issues = await issuesOf(node);
      for (const { url } of etcd.members) expect(issues.join()).toContain(url);
      expect(issues.join()).toContain('a majority of its members must run');
    }
    etcd.restart(one!, two!);
    await cluster.settled();
    const told = coordinator.daemon.lines.map(({ msg }) => msg);
    expect(told).toContain('no word from etcd that counts');
    await coordinator.daemon.logged('etcd answers again');
    for (const node of cluster.nodes)
      expect((await issuesOf(node)).filter((issue) => issue.includes('etcd'))).toEqual([]);
    expect(cluster.wrong).toEqual([]);
  });

  test('a removed node is told by etcd, and comes back when it is readmitted', async () => {
    const coordinator = await cluster.settled();
    const out = cluster.nodes.find((node) => node !== coordinator)!;
    await coordinator.ask('nodes.remove', { node_id: out.id }, 10_000);
    await waitFor(async () => (await issuesOf(out)).some((issue) => issue.includes('removed')), 'it to know');
    await coordinator.ask('nodes.readmit', { node_id: out.id }, 10_000);
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });
});
