/** Two nodes: with a witness one may be lost; without one none may, unless the operator takes the risk. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { waitFor } from '../support/wait.ts';
import { type ClusterNode, TestCluster, type View } from './cluster.ts';
import { deaths, strike } from './deaths.ts';

setDefaultTimeout(120_000);

function issuesOf(node: ClusterNode): Promise<{ issues: { message: string; hint: string }[] } | undefined> {
  return node.ask('status.get');
}

test('with a witness, the other one takes over, and the witness never does', async () => {
  await using cluster = await TestCluster.start({ nodes: 2, witness: true });
  await strike(cluster, deaths['kill -9 of the daemon']);
  await strike(cluster, deaths['its network is cut both ways']);
  const claims = cluster.node('witness').daemon.lines.filter(({ msg }) => msg === 'this node coordinates');
  expect(claims).toEqual([]);
  expect(cluster.wrong).toEqual([]);
});

describe('without a witness', () => {
  test('nobody takes over, and status says what to do; the return of the other brings a coordinator', async () => {
    await using cluster = await TestCluster.start({ nodes: 2 });
    const lost = await cluster.settled();
    const left = cluster.nodes.find((node) => node !== lost);
    await lost.daemon.kill();
    await waitFor(
      async () =>
        (await issuesOf(left!))?.issues.some(({ message }) =>
          message.startsWith('no coordinator: 1 of 2 voters answers, 2 are needed'),
        ) === true,
      'status to say that there is no coordinator',
    );
    const issue = (await issuesOf(left!))?.issues.find(({ message }) => message.startsWith('no coordinator'));
    expect(issue?.hint).toBe(
      `bring ${lost.id} back, or steep-repl cluster recover --survivors ${left!.id}; add a witness while both run`,
    );
    // Longer than any election takes: it stays so.
    await Bun.sleep(5000);
    expect(await left!.ask<View>('coordinator.get')).toMatchObject({ node_id: null });
    lost.start();
    await cluster.settled();
    expect(cluster.wrong).toEqual([]);
  });

  test('two_node: promote lets the survivor take over alone, and says so; when both are back there is one', async () => {
    await using cluster = await TestCluster.start({
      nodes: 2,
      config: { election: { two_node: 'promote' } },
    });
    const lost = await cluster.settled();
    const left = cluster.nodes.find((node) => node !== lost);
    expect((await issuesOf(left!))?.issues.map(({ message }) => message)).toContain(
      'election.two_node is promote: when the network is cut there can be two coordinators',
    );
    expect(left!.daemon.count('election.two_node is promote: two coordinators are possible')).toBe(1);
    lost.host.cut('both ways');
    await waitFor(
      async () => (await left!.ask<View>('coordinator.get'))?.node_id === left!.id,
      'the survivor to take over',
    );
    lost.host.mend();
    await cluster.settled();
  });
});
