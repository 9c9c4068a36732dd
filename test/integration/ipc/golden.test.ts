/** The exact shapes of the IPC door, asked by a client that shares no code with steep-repl. */
import { freePort } from '../../support/ports.ts';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ask, RawIpc } from '../../support/ipc-raw.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { has, shapeOf, DoorDaemon } from './support.ts';

let server: TestPostgres;
let daemon: DoorDaemon;

const stack = new AsyncDisposableStack();

beforeAll(async () => {
  server = stack.use(await TestPostgres.withExtension());
  const http = { enabled: true, bind: '127.0.0.1', port: await freePort() };
  daemon = stack.use(await DoorDaemon.start({ server, config: { http } }));
  await daemon.untilCoordinator();
  const recorded = { action_filter: ['daemon.started', 'node.registered', 'coordinator.elected'] };
  await waitFor(
    async () => (await ask(daemon.socket, 'audit.query', recorded)).result.total === 3,
    'the start, the own row and the election to be recorded',
  );
});

afterAll(() => stack.disposeAsync());

async function shape(method: string, params?: unknown): Promise<unknown> {
  const { id: _id, ...answer } = await ask(daemon.socket, method, params);
  return shapeOf(answer);
}

const text = 'string';
const number = 'number';

const NODE = {
  node_id: text,
  node_name: text,
  host: text,
  port: number,
  priority: number,
  is_coordinator: 'boolean',
  last_seen: text,
  status: text,
  grpc_host: null,
  grpc_port: null,
  role: text,
  round_trip_ms: null,
  votes: 'boolean',
};

const ENTRY = {
  id: text,
  occurred_at: text,
  action: text,
  actor: text,
  target_type: text,
  target_id: text,
  client_ip: null,
  success: 'boolean',
  error_message: null,
};

const STATUS = {
  state: text,
  pid: number,
  uptime_seconds: number,
  start_time: text,
  version: text,
  postgresql: {
    connected: 'boolean',
    version: text,
    host: text,
    port: number,
    database: text,
    latency_ms: number,
    error: null,
  },
  grpc: {
    enabled: 'boolean',
    listening: 'boolean',
    bind: null,
    port: null,
    tls_enabled: 'boolean',
    certificate_expires: null,
  },
  ipc: { listening: 'boolean', path: text },
  http: { enabled: 'boolean', listening: 'boolean', bind: text, port: number },
  node: { node_id: text, node_name: text, role: text, is_coordinator: 'boolean', cluster_size: number },
  coordinator: { node_id: text, term: number, since: text },
  issues: [],
};

function done(result: unknown): unknown {
  return { result, error: null };
}

describe('while PostgreSQL is connected', () => {
  test('status.get', async () => {
    expect(await shape('status.get')).toEqual(done(STATUS));
    const { result } = await ask(daemon.socket, 'status.get');
    expect(result).toMatchObject({
      state: 'running',
      pid: daemon.pid,
      postgresql: { connected: true, host: server.base, port: server.port, database: 'postgres' },
      ipc: { listening: true, path: daemon.socket },
      node: { node_id: 'node-a', role: 'node', is_coordinator: true, cluster_size: 1 },
      coordinator: { node_id: 'node-a', term: 1 },
    });
    for (const time of [result.start_time, result.coordinator.since])
      expect(new Date(time).toISOString()).toBe(time);
  });

  test('health.check', async () => {
    const component = { healthy: 'boolean', status: text };
    expect(await shape('health.check')).toEqual(
      done({
        status: text,
        components: {
          postgresql: { ...component, version: text, latency_ms: number },
          ipc: component,
          http: { ...component, port: number },
        },
      }),
    );
    expect((await ask(daemon.socket, 'health.check')).result.status).toBe('healthy');
  });

  test('nodes.list, whole and filtered', async () => {
    const whole = done({ nodes: [NODE], coordinator_id: text });
    expect(await shape('nodes.list')).toEqual(whole);
    expect(await shape('nodes.list', { status_filter: [] })).toEqual(whole);
    expect(await shape('nodes.list', { status_filter: ['offline'] })).toEqual(
      done({ nodes: [], coordinator_id: text }),
    );
    expect(await shape('nodes.list', { status_filter: ['offline', 'healthy'] })).toEqual(whole);
    expect((await ask(daemon.socket, 'nodes.list')).result).toMatchObject({
      nodes: [{ node_id: 'node-a', status: 'healthy', is_coordinator: true, votes: true }],
      coordinator_id: 'node-a',
    });
  });

  test('nodes.get, of a node and of nobody', async () => {
    expect(await shape('nodes.get', { node_id: 'node-a' })).toEqual(done({ node: NODE }));
    expect(await ask(daemon.socket, 'nodes.get', { node_id: 'none' })).toEqual({
      id: 'r1',
      result: null,
      error: { code: 'NODE_NOT_FOUND', message: "there is no node 'none'", hint: 'steep-repl nodes list' },
    });
  });

  test('coordinator.get', async () => {
    const { id: _id, ...answer } = await ask(daemon.socket, 'coordinator.get');
    expect(answer).toEqual({
      result: {
        node_id: 'node-a',
        term: 1,
        since: expect.any(String),
        lease_ms: 3000,
        voters: ['node-a'],
        reachable_voters: ['node-a'],
      },
      error: null,
    });
  });

  test('audit.query', async () => {
    const { result } = await ask(daemon.socket, 'audit.query', { action_filter: ['node.registered'] });
    const { entries, ...rest } = result;
    expect(rest).toEqual({ total: 1, has_more: false, next_cursor: null });
    const [{ old_value, new_value, ...entry }] = entries;
    expect(shapeOf(entry)).toEqual(ENTRY);
    expect([old_value, new_value.node_id]).toEqual([null, 'node-a']);
    expect(entry.occurred_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    const more = (await ask(daemon.socket, 'audit.query', { limit: 1 })).result;
    expect([more.has_more, typeof more.next_cursor]).toEqual([true, 'string']);
  });

  test('what changes the cluster, and a peer’s health, say what they cannot do', async () => {
    for (const [method, params, code] of [
      ['nodes.join', { address: 'nowhere' }, 'INVALID_REQUEST'],
      ['nodes.remove', { node_id: 'none' }, 'NODE_NOT_FOUND'],
      ['nodes.remove', { node_id: 'node-a' }, 'INVALID_REQUEST'],
      ['nodes.readmit', { node_id: 'none' }, 'NODE_NOT_FOUND'],
      ['nodes.readmit', { node_id: 'node-a' }, 'CONFLICT'],
      ['nodes.set_status', { node_id: 'none', status: 'offline' }, 'NODE_NOT_FOUND'],
      ['nodes.set_status', { node_id: 'node-a', status: 'offline' }, 'CONFLICT'],
      ['nodes.set_status', { node_id: 'node-a', status: 'healthy' }, 'INVALID_REQUEST'],
      ['nodes.set_status', { node_id: 'node-a' }, 'INVALID_REQUEST'],
      ['coordinator.transfer', { node_id: 'none' }, 'NODE_NOT_FOUND'],
      ['coordinator.transfer', { node_id: 'node-a' }, 'CONFLICT'],
      ['coordinator.transfer', {}, 'INVALID_REQUEST'],
      ['health.remote', { address: 'nowhere' }, 'INVALID_REQUEST'],
    ] as const) {
      const { result, error } = await ask(daemon.socket, method, params);
      expect([method, result, error?.code]).toEqual([method, null, code]);
    }
  });

  test('nodes.set_status, to what it is already', async () => {
    expect(await shape('nodes.set_status', { node_id: 'node-a', status: 'online' })).toEqual(
      done({ node: NODE }),
    );
  });

  test('daemon.reload', async () => {
    expect(await shape('daemon.reload')).toEqual(done({ changed: [], at_next_start: [] }));
  });

  test('events.subscribe answers, and then sends events under the same id', async () => {
    using client = await RawIpc.open(daemon.socket);
    const id = client.send('events.subscribe', { actions: ['state.updated'] }, 'ä "1"');
    const first = await client.find((line) => line.id === id, 'the first answer');
    expect(first).toEqual({ id, result: { subscribed: true }, error: null });
    await server.query(`INSERT INTO steep_repl.coordinator_state VALUES ('a.b', '1')`);
    // The daemon has news of its own, too.
    const event = await client.find((line) => line.event?.target_id === 'a.b', 'the event');
    expect(Object.keys(event)).toEqual(['id', 'event']);
    const { old_value, new_value, ...entry } = event.event;
    expect(shapeOf(entry)).toEqual(ENTRY);
    expect([event.id, entry.action, entry.target_id, old_value, new_value.value]).toEqual([
      id,
      'state.updated',
      'a.b',
      null,
      1,
    ]);
  });

  test('an unknown method, one without a name, and lines that are no request', async () => {
    using client = await RawIpc.open(daemon.socket);
    const answerTo = async (line: string): Promise<unknown> => {
      const count = client.lines.length;
      client.write(`${line}\n`);
      await client.find((found) => client.lines.indexOf(found) === count, `the answer to ${line}`);
      const { id, result, error } = client.lines[count]!;
      return [id, result, error?.code];
    };
    expect(await answerTo('{"id":"1","method":"nodes.burn"}')).toEqual(['1', null, 'METHOD_NOT_FOUND']);
    expect(await answerTo('{"id":"1","method":"__proto__"}')).toEqual(['1', null, 'METHOD_NOT_FOUND']);
    expect(await answerTo('{"id":"1"}')).toEqual(['1', null, 'INVALID_REQUEST']);
    expect(await answerTo('{"id":"1","method":5}')).toEqual(['1', null, 'INVALID_REQUEST']);
    expect(await answerTo('{"id":"1","method":"status.get","params":[]}')).toEqual([
      '1',
      null,
      'INVALID_REQUEST',
    ]);
    expect(await answerTo('{"id":1,"method":"status.get"}')).toEqual([null, null, 'INVALID_REQUEST']);
    expect(await answerTo(`{"id":"${'i'.repeat(201)}","method":"status.get"}`)).toEqual([
      null,
      null,
      'INVALID_REQUEST',
    ]);
    for (const line of ['{', 'null', '[]', '"x"', '5', '\0'])
      expect([line, await answerTo(line)]).toEqual([line, [null, null, 'INVALID_REQUEST']]);
    expect(await answerTo('{"id":"","method":"status.get"}')).toEqual(['', expect.anything(), undefined]);
    expect(await answerTo('{"id":"n","method":"status.get","params":null}')).toEqual([
      'n',
      expect.anything(),
      undefined,
    ]);
  });

  test.skipIf(!has('socat'))('socat gets an answer to what it is given, and ends by itself', async () => {
    const child = Bun.spawn(['socat', '-', `UNIX-CONNECT:${daemon.socket}`], {
      stdin: Buffer.from('{"id":"1","method":"status.get"}\n\n{"id":"2","method":"audit.query"}\r\n'),
      stdout: 'pipe',
    });
    const output = await new Response(child.stdout).text();
    expect(await child.exited).toBe(0);
    const answers = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string; error: unknown });
    expect(answers.map(({ id, error }) => [id, error])).toEqual([
      ['1', null],
      ['2', null],
    ]);
  });
});

describe('while PostgreSQL', () => {
  test('hangs, status, health and nodes come from memory, and the audit trail says why it cannot', async () => {
    server.freeze('SIGSTOP');
    try {
      // At once, when nobody has noticed yet, and when it has been.
      for (const noticed of [false, true]) {
        if (noticed) await daemon.untilConnected(false);
        const began = performance.now();
        expect((await ask(daemon.socket, 'status.get')).result.postgresql.connected).toBe(!noticed);
        const status = performance.now() - began;
        expect((await ask(daemon.socket, 'health.check')).result.status).toBe(
          noticed ? 'unhealthy' : 'healthy',
        );
        expect((await ask(daemon.socket, 'coordinator.get')).error).toBeNull();
        const memory = performance.now() - began;
        expect((await ask(daemon.socket, 'nodes.list')).result.nodes).toHaveLength(1);
        const nodes = performance.now() - began - memory;
        console.log(
          `PostgreSQL hangs, ${noticed ? 'noticed' : 'not noticed'}: status.get ${status.toFixed(1)} ms, nodes.list ${nodes.toFixed(0)} ms`,
        );
        expect(memory).toBeLessThan(10_000); // a statement has 30 s
      }
      const { error } = await ask(daemon.socket, 'audit.query');
      expect(error!.code).toBe('NOT_CONNECTED');
    } finally {
      server.freeze('SIGCONT');
    }
    await daemon.untilConnected();
  });

  test('is down, each method answers from memory or with NOT_CONNECTED and a hint', async () => {
    await server.stop();
    await daemon.untilConnected(false);
    await waitFor(
      async () => (await ask(daemon.socket, 'coordinator.get')).result.node_id === null,
      'the coordinator to resign, after a lease without PostgreSQL',
    );
    expect(await shape('status.get')).toEqual(
      done({
        ...STATUS,
        postgresql: { ...STATUS.postgresql, version: null, latency_ms: null, error: text },
        coordinator: { node_id: null, term: null, since: null },
        issues: [{ severity: text, message: text, hint: text }],
      }),
    );
    expect((await ask(daemon.socket, 'coordinator.get')).result).toEqual({
      node_id: null,
      term: null,
      since: null,
      lease_ms: 3000,
      voters: ['node-a'],
      reachable_voters: ['node-a'],
    });
    expect(await shape('health.check')).toEqual(
      done({
        status: text,
        components: {
          postgresql: { healthy: 'boolean', status: text, error: text },
          ipc: { healthy: 'boolean', status: text },
          http: { healthy: 'boolean', status: text, port: number },
        },
      }),
    );
    expect(await shape('nodes.list')).toEqual(done({ nodes: [NODE], coordinator_id: null }));
    expect(await shape('nodes.get', { node_id: 'node-a' })).toEqual(done({ node: NODE }));
    expect(await shape('events.subscribe')).toEqual(done({ subscribed: 'boolean' }));
    const { error } = await ask(daemon.socket, 'audit.query');
    expect([error!.code, typeof error!.hint]).toEqual(['NOT_CONNECTED', 'string']);
    await server.start();
    await daemon.untilConnected();
    expect((await ask(daemon.socket, 'audit.query')).error).toBeNull();
    await daemon.untilCoordinator();
    expect((await ask(daemon.socket, 'coordinator.get')).result.term).toBeGreaterThan(1);
  });

  test('was never there, status and nodes are told from memory, and the audit trail is NOT_CONNECTED', async () => {
    await using alone = await DoorDaemon.start({});
    await alone.untilConnected(false);
    const { result } = await ask(alone.socket, 'status.get');
    expect([result.state, result.node.cluster_size]).toEqual(['running', 1]);
    const listed = await ask(alone.socket, 'nodes.list');
    expect(listed.result.nodes).toMatchObject([{ node_id: 'node-a', status: 'healthy' }]);
    expect((await ask(alone.socket, 'nodes.get', { node_id: 'node-a' })).error).toBeNull();
    expect((await ask(alone.socket, 'audit.query', {})).error?.code).toBe('NOT_CONNECTED');
  });
});
