/** What an operator says to a cluster through its doors: offline, online, transfer; and what each node answers. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { freePort } from '../../support/ports.ts';
import { waitFor } from '../../support/wait.ts';
import { shapeOf } from '../ipc/support.ts';
import { TestNode } from '../rpc/support.ts';

// Each step has a limit of its own, and says what it waited for: all of them together must not be ended before.
setDefaultTimeout(180_000);

const ALL = ['node-a', 'node-b', 'node-c'] as const;
const CHANGED = 'node-b';
let nodes: TestNode[];
let a: TestNode;
let b: TestNode;
let c: TestNode;
const doors = new Map<string, number>();

beforeAll(async () => {
  const config = async (id: string): Promise<Record<string, unknown>> => {
    const port = await freePort();
    doors.set(id, port);
    return { http: { enabled: true, bind: '127.0.0.1', port } };
  };
  a = await TestNode.start('node-a', { config: await config('node-a') });
  const join = [a.address];
  b = await TestNode.start('node-b', { ca: a, join, config: await config('node-b') });
  await b.counts('node-a', 'node-b'); // voters are shown in the order in which they joined
  c = await TestNode.start('node-c', { ca: a, join, config: await config('node-c') });
  nodes = [a, b, c];
  for (const node of nodes) {
    await node.counts(...ALL);
    expect(await node.follows('node-a')).toBe(1);
  }
  await Promise.all(nodes.map((node) => node.sees(...ALL.map((id) => `${id} healthy`))));
});

afterAll(async () => {
  for (const node of nodes) await node[Symbol.asyncDispose]();
});

async function http(node: TestNode, path: string): Promise<Response> {
  return await fetch(`http://127.0.0.1:${doors.get(node.id)}${path}`, {
    signal: AbortSignal.timeout(20_000),
  });
}

/** One sample, by the name of its metric and its labels as they are written. */
async function metric(node: TestNode, sample: string): Promise<number> {
  const text = await (await http(node, '/metrics')).text();
  const line = text.split('\n').find((one) => one.startsWith(`steep_repl_${sample} `));
  return Number(line?.split(' ').at(-1));
}

/** How often a node has answered a coordinator that renewed its lease. */
async function renewed(node: TestNode): Promise<number> {
  return await metric(node, 'requests_total{door="rpc",method="steep.repl.v1.Election/Renew",code="ok"}');
}

/** Which node coordinates, agreed on by all; and in which term. */
async function agreed(id: string): Promise<number> {
  const terms = await Promise.all(nodes.map((node) => node.follows(id)));
  expect(new Set(terms).size).toBe(1);
  return terms[0]!;
}

const NODE = {
  node_id: 'string',
  node_name: 'string',
  host: 'string',
  port: 'number',
  priority: 'number',
  grpc_host: 'string',
  grpc_port: 'number',
  is_coordinator: 'boolean',
  status: 'string',
  last_seen: 'string',
  role: 'string',
  round_trip_ms: 'number',
  votes: 'boolean',
};

describe('the doors', () => {
  test('GET /coordinator is 200 on the coordinator alone, and every node names it', async () => {
    const answers = await Promise.all(
      nodes.map(async (node) => {
        const response = await http(node, '/coordinator');
        return [response.status, await response.json()];
      }),
    );
    const seen = { coordinator_id: 'node-a', term: 1 };
    expect(answers).toEqual([
      [200, { is_coordinator: true, ...seen }],
      [503, { is_coordinator: false, ...seen }],
      [503, { is_coordinator: false, ...seen }],
    ]);
  });

  test('metrics count who coordinates, in which term, and elections', async () => {
    expect(await Promise.all(nodes.map((node) => metric(node, 'coordinator')))).toEqual([1, 0, 0]);
    expect(await Promise.all(nodes.map((node) => metric(node, 'coordinator_term')))).toEqual([1, 1, 1]);
    expect(await Promise.all(nodes.map((node) => metric(node, 'elections_total')))).toEqual([1, 0, 0]);
  });

  test('coordinator show says the same everywhere, exit 0', async () => {
    for (const node of nodes) {
      const { code, stdout } = await node.cli(['coordinator', 'show', '--json']);
      expect(code).toBe(0);
      const { reachable_voters: reachable, ...info } = JSON.parse(stdout) as Record<string, unknown>;
      expect(info).toEqual({
        node_id: 'node-a',
        term: 1,
        since: expect.any(String),
        lease_ms: 3000,
        voters: [...ALL],
      });
      expect(reachable).toEqual([...ALL]);
    }
  });

  test('the tables say who coordinates, audited once', async () => {
    for (const node of nodes) {
      await waitFor(
        async () => (await node.audit('coordinator.elected', 'node-a')).length === 1,
        `the election in the audit trail of ${node.id}`,
      );
      const rows = await node.server.query(
        `SELECT n.node_id, s.value FROM steep_repl.nodes n, steep_repl.coordinator_state s
          WHERE n.is_coordinator AND s.key = 'cluster.coordinator'`,
      );
      expect([...rows]).toEqual([{ node_id: 'node-a', value: { node_id: 'node-a', term: 1 } }]);
    }
  });
});

describe('nodes.set_status', () => {
  test('gives the node, offline on every node, an issue of severity note and no alarm', async () => {
    const { node } = await c.ask<{ node: Record<string, unknown> }>('nodes.set_status', {
      node_id: CHANGED,
      status: 'offline',
    });
    expect(shapeOf(node)).toEqual(NODE);
    expect(node).toMatchObject({ node_id: CHANGED, status: 'offline', votes: true, is_coordinator: false });
    await Promise.all(nodes.map((one) => one.sees('node-a healthy', 'node-b offline', 'node-c healthy')));
    for (const one of nodes) {
      expect(await one.issues()).toEqual([
        { severity: 'note', message: 'node-b is offline', hint: 'steep-repl nodes online node-b' },
      ]);
      expect((await one.cli(['status'])).code).toBe(0);
      expect(await one.ask<object>('coordinator.get')).toMatchObject({ voters: [...ALL] });
    }
    expect(await metric(a, 'nodes{status="offline"}')).toBe(1);
  });

  test('holds while the node is stopped and started again, and its silence is no alarm', async () => {
    const failures = await metric(a, 'heartbeat_failures_total');
    await b.daemon.stop();
    await waitFor(
      async () =>
        (await a.ask<{ reachable_voters: string[] }>('coordinator.get')).reachable_voters.length === 2,
      'node-b to be silent for long',
    );
    await waitFor(
      async () => (await metric(a, 'heartbeat_failures_total')) > failures,
      'the heartbeats in vain to be counted',
    );
    expect(await a.nodes()).toEqual(['node-a healthy', 'node-b offline', 'node-c healthy']);
    expect((await a.issues()).map(({ severity }) => severity)).toEqual(['note']);
    await b.up();
    await b.sees('node-a healthy', 'node-b offline', 'node-c healthy');
    await b.follows('node-a');
  });

  test('online by the command on the node itself ends it, exit 0', async () => {
    expect(await b.cli(['nodes', 'online', CHANGED])).toEqual({
      code: 0,
      stdout: 'node-b is healthy\n',
      stderr: '',
    });
    await Promise.all(nodes.map((node) => node.sees(...ALL.map((id) => `${id} healthy`))));
    for (const node of nodes) expect(await node.issues()).toEqual([]);
    const again = await a.cli(['nodes', 'online', CHANGED, '--json']);
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(again.stdout)).toMatchObject({ node: { node_id: CHANGED, status: 'healthy' } });
  });

  test('of the coordinator lets another one take over; it does not come back by itself', async () => {
    const before = await agreed('node-a');
    expect(await a.cli(['nodes', 'offline', 'node-a'])).toEqual({
      code: 0,
      stdout: 'node-a is offline until  steep-repl nodes online node-a\n',
      stderr: '',
    });
    await a.daemon.waitForLog(
      ({ msg, reason }) => msg === 'this node coordinates no more' && reason === 'it is offline',
      'node-a to resign',
    );
    let next: string | null = null;
    await waitFor(async () => {
      next = (await a.ask<{ node_id: string | null }>('coordinator.get')).node_id;
      return next !== null;
    }, 'another coordinator');
    expect(['node-b', 'node-c']).toContain(next!);
    expect(await agreed(next!)).toBeGreaterThan(before);
    const back = await a.cli(['nodes', 'online', 'node-a', '--json']);
    expect(JSON.parse(back.stdout)).toMatchObject({ node: { node_id: 'node-a', status: 'healthy' } });
    await agreed(next!);
  });

  test('of unknown nodes, and to what it cannot be, is refused with exit codes that tell', async () => {
    const { node_id: present } = await a.ask<{ node_id: string }>('coordinator.get');
    const coordinator = nodes.find(({ id }) => id === present)!;
    const follower = nodes.find(({ id }) => id !== present)!;
    const unknown = { node_id: 'none', status: 'offline' };
    await expect(coordinator.ask('nodes.set_status', unknown)).rejects.toThrow(
      "NODE_NOT_FOUND there is no node 'none'",
    );
    await expect(follower.ask('nodes.set_status', unknown)).rejects.toThrow(
      `NODE_NOT_FOUND ${coordinator.address}: there is no node 'none'`,
    );
    await expect(a.ask('nodes.set_status', { node_id: CHANGED, status: 'healthy' })).rejects.toThrow(
      'INVALID_REQUEST params.status: ',
    );
    await expect(a.ask('nodes.set_status', { status: 'offline' })).rejects.toThrow(
      'INVALID_REQUEST params.node_id: ',
    );
    for (const verb of ['offline', 'online'])
      expect(await coordinator.cli(['nodes', verb, 'none'])).toEqual({
        code: 1,
        stdout: '',
        stderr: "steep-repl: there is no node 'none'\n  hint: steep-repl nodes list\n",
      });
    expect((await b.cli(['nodes', 'offline'])).code).toBe(2);
  });

  test('keeps the last node that can coordinate online: nobody could end it', async () => {
    const { node_id: last } = await a.ask<{ node_id: string }>('coordinator.get');
    const others = nodes.filter(({ id }) => id !== last);
    for (const { id } of others) await a.ask('nodes.set_status', { node_id: id, status: 'offline' });
    for (const node of nodes)
      await waitFor(
        async () => (await node.nodes()).filter((row) => row.endsWith(' offline')).length === 2,
        `${node.id} to see both offline`,
      );
    for (const node of nodes)
      expect(await node.cli(['nodes', 'offline', last])).toEqual({
        code: 1,
        stdout: '',
        stderr: `steep-repl: ${last} is the last node that can coordinate: it cannot go offline\n  hint: steep-repl nodes list\n`,
      });
    for (const { id } of others) await a.ask('nodes.set_status', { node_id: id, status: 'online' });
    await agreed(last);
  });
});

describe('coordinator.transfer', () => {
  test('makes the named node coordinate in a newer term, by the command on any node: exit 0', async () => {
    const { node_id: before } = await a.ask<{ node_id: string }>('coordinator.get');
    const term = await agreed(before);
    const [next, third] = nodes.filter(({ id }) => id !== before);
    const outcome = await third!.cli(['coordinator', 'transfer', next!.id]);
    const after = await agreed(next!.id);
    expect(after).toBeGreaterThan(term);
    expect(outcome).toEqual({
      code: 0,
      stdout: `${next!.id} coordinates, term ${after}\n`,
      stderr: '',
    });
    const old = nodes.find(({ id }) => id === before)!;
    expect(old.daemon.lines.findLast(({ msg }) => msg === 'this node coordinates no more')).toMatchObject({
      term,
      reason: `handed over to ${next!.id}`,
    });
  });

  test('gives what coordinator.get does, and with --json the command gives the new coordinator', async () => {
    const { node_id: before } = await a.ask<{ node_id: string }>('coordinator.get');
    const [next, other] = nodes.filter(({ id }) => id !== before);
    const answer = await a.ask<object>('coordinator.transfer', { node_id: next!.id });
    expect(Object.keys(answer).toSorted()).toEqual(
      ['lease_ms', 'node_id', 'reachable_voters', 'since', 'term', 'voters'].toSorted(),
    );
    const term = await agreed(next!.id);
    const { code, stdout } = await next!.cli(['coordinator', 'transfer', other!.id, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      node_id: other!.id,
      term: await agreed(other!.id),
      since: expect.any(String),
      lease_ms: 3000,
      voters: [...ALL],
      reachable_voters: [...ALL],
    });
    expect(await agreed(other!.id)).toBeGreaterThan(term);
  });

  test('is refused with the reason, and nothing changes', async () => {
    const { node_id: present } = await a.ask<{ node_id: string }>('coordinator.get');
    const term = await agreed(present);
    const [one, two] = nodes.filter(({ id }) => id !== present);
    const { address } = nodes.find(({ id }) => id === present)!;
    const refusal = async (id: string): Promise<string> => {
      const { code, stdout, stderr } = await two!.cli(['coordinator', 'transfer', id]);
      expect([code, stdout]).toEqual([1, '']);
      return stderr.split('\n')[0]!.replace(`${address}: `, '');
    };
    expect(await refusal('none')).toBe("steep-repl: there is no node 'none'");
    expect(await refusal(present)).toBe(`steep-repl: ${present} coordinates already`);
    await a.ask('nodes.set_status', { node_id: one!.id, status: 'offline' });
    expect(await refusal(one!.id)).toBe(`steep-repl: ${one!.id} cannot take over: it is offline`);
    await expect(two!.ask('coordinator.transfer', { node_id: one!.id })).rejects.toThrow(
      `CONFLICT ${address}: ${one!.id} cannot take over: it is offline`,
    );
    await a.ask('nodes.set_status', { node_id: one!.id, status: 'online' });
    await expect(a.ask('coordinator.transfer', {})).rejects.toThrow('INVALID_REQUEST params.node_id: ');
    await one!.server.stop();
    await waitFor(
      async () =>
        !(await one!.ask<{ postgresql: { connected: boolean } }>('status.get')).postgresql.connected,
      'its PostgreSQL to be known away',
    );
    const renewals = await renewed(one!);
    await waitFor(async () => (await renewed(one!)) >= renewals + 2, 'the coordinator to have been told');
    expect(await refusal(one!.id)).toBe(`steep-repl: ${one!.id} cannot take over: its PostgreSQL is away`);
    await one!.daemon.kill();
    await waitFor(
      async () => (await refusal(one!.id)) === `steep-repl: ${one!.id} cannot take over: it does not answer`,
      'the coordinator to hear nothing of it',
    );
    await one!.server.start();
    await one!.up();
    expect(await agreed(present)).toBe(term);
  });
});

test('without a majority: show is exit 4, and what has to be decided exit 7 with what to do', async () => {
  const { node_id: present } = await a.ask<{ node_id: string }>('coordinator.get');
  const [left, ...lost] = [
    nodes.find(({ id }) => id === present)!,
    ...nodes.filter(({ id }) => id !== present),
  ];
  for (const node of lost) await node.daemon.kill();
  await waitFor(
    async () => (await left.issues()).some(({ message }) => message.startsWith('no coordinator: ')),
    'the loss of the majority to be told',
  );
  const issues = (await left.issues()).filter(({ message }) => message.startsWith('no coordinator: '));
  expect(issues).toEqual([
    {
      severity: 'warning',
      message: 'no coordinator: 1 of 3 voters answers, 2 are needed',
      hint: `bring back ${lost.map(({ id }) => id).join(', ')}; if they are lost for good: steep-repl cluster recover --survivors ${left.id}`,
    },
  ]);
  const shown = await left.cli(['coordinator', 'show']);
  expect(shown.code).toBe(4);
  expect(shown.stdout).toBe(
    `Coordinator  none\nTerm         -\nSince        -\nLease        3000 ms\nVoters       node-a, node-b, node-c\nReachable    ${left.id}\n`,
  );
  // Side by side: each waits eight seconds for a coordinator.
  const refused = await Promise.all([
    left.cli(['nodes', 'offline', lost[0]!.id]),
    left.cli(['coordinator', 'transfer', lost[0]!.id]),
  ]);
  const refusal = {
    code: 7,
    stdout: '',
    stderr: 'steep-repl: the cluster has no coordinator at the moment\n  hint: steep-repl status says why\n',
  };
  expect(refused).toEqual([refusal, refusal]);
  expect((await http(left, '/coordinator')).status).toBe(503);
  expect(await metric(left, 'coordinator')).toBe(0);
  expect(await metric(left, 'coordinator_term')).toBe(0);
});
