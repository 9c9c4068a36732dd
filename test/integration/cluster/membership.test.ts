/** Nodes that join, change, leave and come back: every one knows the same. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '../../support/wait.ts';
import { Authority, connectJson, GrpcPeer, placePems, TestNode } from '../rpc/support.ts';

const ALL = ['node-a healthy', 'node-b healthy', 'node-c healthy'] as const;
let a: TestNode;
let b: TestNode;
let c: TestNode;

beforeAll(async () => {
  a = await TestNode.start('node-a');
  [b, c] = await Promise.all([
    TestNode.start('node-b', { ca: a, join: [a.address] }),
    TestNode.start('node-c', { ca: a }),
  ]);
});

afterAll(async () => {
  for (const node of [c, b, a]) await node[Symbol.asyncDispose]();
});

async function clusterId(node: TestNode): Promise<unknown> {
  const { answer } = await connectJson(node.port, 'GetNodes', {}, { pems: a.pems });
  return (answer['nodes'] as Record<string, unknown>[])[0]?.['clusterId'];
}

/** The rows that people read, without what each node sees for itself. */
async function table(node: TestNode): Promise<string> {
  const rows = await node.server.query(
    'SELECT node_id, node_name, host, port, priority, grpc_host, grpc_port FROM steep_repl.nodes ORDER BY node_id',
  );
  return JSON.stringify([...rows]);
}

async function sameEverywhere(...nodes: TestNode[]): Promise<void> {
  await waitFor(async () => {
    const tables = await Promise.all(nodes.map(table));
    return tables.every((one) => one === tables[0]);
  }, 'the same table everywhere');
}

describe('a cluster of three', () => {
  test('comes to be by cluster.join and by nodes join', async () => {
    await b.daemon.logged('joined the cluster');
    const joined = await c.cli(['nodes', 'join', b.address, '--yes']);
    expect(joined).toMatchObject({ code: 0 });
    expect(joined.stdout).toContain('node-b');
    await Promise.all([a, b, c].map((node) => node.sees(...ALL)));
    expect(new Set(await Promise.all([a, b, c].map(clusterId))).size).toBe(1);
    await sameEverywhere(a, b, c);
  });

  test('shows the same list on every node, and its own round trip to each other one', async () => {
    for (const node of [a, b, c]) {
      await node.counts('node-a', 'node-b', 'node-c');
      expect(await node.follows('node-a')).toBe(1);
    }
    const rows = async (node: TestNode): Promise<unknown> => {
      const { stdout, code } = await node.cli(['nodes', 'list', '--json']);
      expect(code).toBe(0);
      const { nodes, coordinator_id } = JSON.parse(stdout) as {
        nodes: Record<string, unknown>[];
        coordinator_id: string;
      };
      for (const { node_id, round_trip_ms } of nodes)
        expect([node.id, node_id, typeof round_trip_ms]).toEqual([
          node.id,
          node_id,
          node_id === node.id ? 'object' : 'number',
        ]);
      return {
        nodes: nodes.map((row) => ({ ...row, last_seen: null, round_trip_ms: null })),
        coordinator_id,
      };
    };
    const [first, ...others] = await Promise.all([a, b, c].map(rows));
    expect(first).toMatchObject({
      nodes: [
        { node_id: 'node-a', is_coordinator: true, votes: true },
        { node_id: 'node-b', is_coordinator: false, votes: true },
        { node_id: 'node-c', is_coordinator: false, votes: true },
      ],
      coordinator_id: 'node-a',
    });
    for (const other of others) expect(other).toEqual(first);
  });

  test('writes one audit row for each arrival on each node, and none for heartbeats', async () => {
    for (const node of [a, b, c])
      for (const id of ['node-a', 'node-b', 'node-c'])
        expect({ node: node.id, id, rows: (await node.audit('node.registered', id)).length }).toEqual({
          node: node.id,
          id,
          rows: 1,
        });
    const count = async (): Promise<unknown> =>
      (await a.server.query('SELECT count(*)::int AS n FROM steep_repl.audit_log'))[0]?.['n'];
    const before = await count();
    await Bun.sleep(2500);
    expect(await count()).toBe(before);
  });

  test('takes a second join of the same nodes for what it is', async () => {
    expect(await c.cli(['nodes', 'join', a.address, '--yes'])).toMatchObject({ code: 0 });
    expect((await a.audit('node.registered', 'node-c')).length).toBe(1);
    const itself = await c.cli(['nodes', 'join', c.address, '--yes']);
    expect(itself.code).toBe(2);
    expect(itself.stderr).toContain('is this node itself');
  });

  test('learns new facts of a node that restarts with them, everywhere, each audited once', async () => {
    await b.restart({ priority: 77, node_name: 'Berta' });
    await waitFor(async () => (await table(c)).includes('Berta'), 'the new name');
    await sameEverywhere(a, b, c);
    await Promise.all([a, b, c].map((node) => node.sees(...ALL)));
    for (const node of [a, b, c])
      expect((await node.audit('node.updated', 'node-b')).map(({ new_value }) => new_value)).toMatchObject([
        { priority: 77, node_name: 'Berta' },
      ]);
  });

  test('refuses a node that already belongs to a cluster of two', async () => {
    await using d = await TestNode.start('node-d', { ca: a });
    using peer = new GrpcPeer(d, await (await Authority.of(a)).node('node-g'));
    await peer.call('RegisterNode', { node_id: 'node-g', host: '10.0.0.1' });
    const refused = await d.cli(['nodes', 'join', a.address, '--yes']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('belongs to cluster');
    expect(await a.nodes()).toEqual([...ALL]);
    expect((await a.audit('rpc.refused')).length).toBe(1);
  });

  test('refuses a second living instance of a node, and the first is not disturbed', async () => {
    const lines = a.daemon.lines.length;
    await using clone = await TestNode.create('node-c', { ca: a, join: [a.address] });
    placePems(clone.certs, c.pems);
    await clone.up();
    const told = await clone.daemon.logged('cannot join yet');
    expect(String(told['error'])).toContain('another living node has the id node-c');
    await Bun.sleep(1500);
    expect(await a.nodes()).toEqual([...ALL]);
    expect(a.daemon.lines.slice(lines).filter(({ msg }) => msg.startsWith('peer '))).toEqual([]);
    expect(await table(a)).not.toContain(String(clone.port));
    expect((await a.audit('rpc.refused')).length).toBe(2); // of many attempts
  });

  test('keeps the rows that an operator wrote into the table himself', async () => {
    await a.server.query(`SELECT steep_repl.register_node('by-hand', 'By hand', 'h.example', 5432)`);
    await Bun.sleep(2200);
    const rows = await a.server.query(`SELECT FROM steep_repl.nodes WHERE node_id = 'by-hand'`);
    expect(rows.length).toBe(1);
    await a.server.query(`DELETE FROM steep_repl.nodes WHERE node_id = 'by-hand'`);
  });

  test('removes a node everywhere, tells it so, and keeps it out though it restarts with newer facts', async () => {
    const refused = await a.cli(['nodes', 'remove', 'node-c']);
    expect(refused.code).not.toBe(0); // without a terminal and without --yes
    expect(await a.cli(['nodes', 'remove', 'node-c', '--yes'])).toMatchObject({ code: 0 });
    for (const node of [a, b]) {
      await node.sees('node-a healthy', 'node-b healthy');
      await waitFor(async () => !(await table(node)).includes('node-c'), `the row to go on ${node.id}`);
      expect(await node.audit('node.removed', 'node-c')).toHaveLength(1);
    }
    const issues = async (): Promise<string> =>
      JSON.stringify((await c.ask<{ issues: unknown }>('status.get')).issues);
    await waitFor(async () => (await issues()).includes('was removed from its cluster'), 'node-c to know');
    await c.restart({ priority: 99 });
    await Bun.sleep(2000);
    expect(await a.nodes()).toEqual(['node-a healthy', 'node-b healthy']);
    expect(await issues()).toContain('was removed from its cluster');
    // Its own table keeps its own row, and is not written to and fro.
    expect(await c.audit('node.removed', 'node-c')).toEqual([]);
    const join = await c.cli(['nodes', 'join', b.address, '--yes']);
    expect(join.stderr).toContain('node-c was removed');
  });

  test('lets it back by nodes readmit on any node, with its newest facts', async () => {
    expect(await b.cli(['nodes', 'readmit', 'node-c'])).toMatchObject({ code: 0 });
    await Promise.all([a, b, c].map((node) => node.sees(...ALL)));
    await sameEverywhere(a, b, c);
    expect(await table(a)).toContain('"priority":99');
    const again = await b.cli(['nodes', 'readmit', 'node-c']);
    expect(again.code).toBe(1);
  });

  test('keeps a removal while PostgreSQL is away, and the table follows when it is back', async () => {
    await a.server.stop();
    await a.daemon.waitForLog(
      ({ component, level }) => component === 'postgresql' && level !== 'info',
      'the loss',
    );
    expect(await a.cli(['nodes', 'remove', 'node-c', '--yes'])).toMatchObject({ code: 0 });
    await b.sees('node-a degraded', 'node-b healthy');
    await a.server.start();
    await waitFor(async () => !(await table(a).catch(() => 'node-c')).includes('node-c'), 'the row to go');
    expect(await a.audit('node.removed', 'node-c')).toHaveLength(2);
    await a.ask('nodes.readmit', { node_id: 'node-c' });
    await Promise.all([a, b, c].map((node) => node.sees(...ALL)));
  });

  test('takes a node back that lost its state_dir, once the old instance is silent', async () => {
    await c.daemon.stop();
    rmSync(path.join(c.home.stateDir, 'cluster.json'));
    await c.restart({ cluster: { join: [a.address] } });
    await Promise.all([a, b, c].map((node) => node.sees(...ALL)));
    await sameEverywhere(a, b, c);
  });

  test('stops within ten seconds each, while the others are connected', async () => {
    for (const node of [c, b, a]) {
      expect(await node.daemon.stop()).toBe(0); // later than that it would be 1
      expect(node.daemon.other).toEqual([]);
    }
  });
});
