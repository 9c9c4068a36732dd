/** The exact shapes of the HTTP door, asked by clients that share no code with steep-repl. */
import { freePort } from '../../support/ports.ts';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { TestPostgres } from '../../support/postgres.ts';
import { secretIn } from '../../support/secrets.ts';
import { waitFor } from '../../support/wait.ts';
import { has, shapeOf, DoorDaemon } from '../ipc/support.ts';
import { type Reply, rawRequest } from './raw.ts';

const stack = new AsyncDisposableStack();
let server: TestPostgres;
let daemon: DoorDaemon;
let port: number;

beforeAll(async () => {
  server = stack.use(await TestPostgres.withExtension());
  port = await freePort();
  daemon = stack.use(
    await DoorDaemon.start({ server, config: { http: { enabled: true, bind: '127.0.0.1', port } } }),
  );
  await daemon.untilCoordinator();
});

afterAll(() => stack.disposeAsync());

const ROUTES = ['/health', '/ready', '/live', '/coordinator', '/metrics'];
const text = 'string';

function get(path: string, method = 'GET'): Promise<Reply> {
  return rawRequest(port, `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
}

const COMPONENTS = {
  postgresql: { healthy: 'boolean', status: text, version: text, latency_ms: 'number' },
  ipc: { healthy: 'boolean', status: text },
};
const HEALTH = {
  status: text,
  components: COMPONENTS,
  node: { node_id: text, node_name: text, is_coordinator: 'boolean' },
  uptime_seconds: 'number',
  version: text,
};

describe('while PostgreSQL is connected', () => {
  test.each<[string, number, unknown]>([
    ['/health', 200, HEALTH],
    ['/ready', 200, { ready: 'boolean' }],
    ['/live', 200, { alive: 'boolean' }],
    ['/coordinator', 200, { is_coordinator: 'boolean', coordinator_id: text, term: 'number' }],
    ['/nope', 404, { error: text, paths: [text] }],
  ])('GET %s is %d', async (path, status, shape) => {
    const reply = await get(path);
    expect([reply.status, shapeOf(JSON.parse(reply.body))]).toEqual([status, shape]);
    expect(reply.headers['content-type']).toMatch(/^application\/json/);
  });

  test('GET /coordinator and /health name the coordinator, which is this node', async () => {
    expect(JSON.parse((await get('/coordinator')).body)).toEqual({
      is_coordinator: true,
      coordinator_id: 'node-a',
      term: 1,
    });
    expect(JSON.parse((await get('/health')).body).node).toEqual({
      node_id: 'node-a',
      node_name: 'node-a',
      is_coordinator: true,
    });
  });

  test('GET /metrics is the text format of Prometheus', async () => {
    const { status, headers, body } = await get('/metrics');
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    for (const line of body.trimEnd().split('\n'))
      expect(line).toMatch(
        /^$|^# (HELP|TYPE) steep_repl_\w+ .+$|^steep_repl_\w+(\{(\w+="[^"]*",?)+\})? -?[\d.e+-]+$/,
      );
    expect(body).toContain('\nsteep_repl_postgresql_connected 1\n');
    expect(body).toContain('\nsteep_repl_nodes{status="healthy"} 1\n');
    expect(body).toContain('\nsteep_repl_coordinator 1\n');
    expect(body).toContain('\nsteep_repl_coordinator_term 1\n');
    expect(body).toContain('\nsteep_repl_elections_total 1\n');
    expect(body).toContain('\nsteep_repl_heartbeat_failures_total 0\n');
    expect(body).toMatch(/^steep_repl_build_info\{version="[^"]+",bun="[^"]+"\} 1$/m);
  });

  test('HEAD is GET without the body', async () => {
    for (const path of [...ROUTES, '/nope']) {
      const [head, full] = [await get(path, 'HEAD'), await get(path)];
      expect([path, head.status, head.body]).toEqual([path, full.status, '']);
      expect([path, head.headers['content-type']]).toEqual([path, full.headers['content-type']]);
    }
  });

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])(
    '%s is 405 and says what is allowed',
    async (method) => {
      for (const path of ROUTES) {
        const { status, headers, body } = await get(path, method);
        expect([path, status, headers['allow'], shapeOf(JSON.parse(body))]).toEqual([
          path,
          405,
          'GET, HEAD',
          { error: text },
        ]);
      }
    },
  );

  test('answers are not to be cached, and a query changes nothing', async () => {
    for (const path of ROUTES) {
      const reply = await get(`${path}?x=/live#y`);
      expect([path, reply.headers['cache-control']]).toEqual([path, 'no-store']);
    }
  });

  test('a request of HTTP/1.0 without a Host, as HAProxy sends by default, is answered', async () => {
    for (const path of ['/health', '/live?x'])
      expect((await rawRequest(port, `GET ${path} HTTP/1.0\r\n\r\n`)).status).toBe(200);
    expect((await rawRequest(port, 'GET /nope HTTP/1.0\r\n\r\n')).status).toBe(404);
  });

  test.skipIf(!has('curl'))('curl gets the answer, and its --fail the state', async () => {
    const curl = async (path: string, ...options: string[]): Promise<[number, string]> => {
      const child = Bun.spawn(
        ['curl', '-s', '--noproxy', '*', ...options, `http://127.0.0.1:${port}${path}`],
        { stdout: 'pipe' },
      );
      const output = await new Response(child.stdout).text();
      return [await child.exited, output];
    };
    expect(await curl('/live')).toEqual([0, '{"alive":true}']);
    expect((await curl('/health', '--fail'))[0]).toBe(0);
    expect((await curl('/coordinator', '--fail'))[0]).toBe(0);
    expect((await curl('/metrics', '--fail'))[1]).toContain('\nsteep_repl_up 1\n');
    expect((await curl('/nope', '--fail'))[0]).toBe(22);
    const [code, head] = await curl('/ready', '-I');
    expect([code, head.split('\r\n')[0]]).toEqual([0, 'HTTP/1.1 200 OK']);
  });
});

describe('while PostgreSQL', () => {
  test('hangs, every route answers as fast as ever, before and after it is noticed', async () => {
    server.freeze('SIGSTOP');
    try {
      for (const noticed of [false, true]) {
        if (noticed) await daemon.untilConnected(false);
        const times: number[] = [];
        for (let count = 0; count < 20; count += 1) {
          const began = performance.now();
          expect((await get('/health')).status).toBe(noticed ? 503 : 200);
          times.push(performance.now() - began);
        }
        console.log(
          `/health while PostgreSQL hangs, ${noticed ? '' : 'not '}noticed: ${Math.max(...times).toFixed(1)} ms at most of 20`,
        );
        expect(times.toSorted((a, b) => a - b)[10]).toBeLessThan(2000);
        for (const path of ROUTES) expect((await get(path)).status).toBeLessThan(504);
      }
    } finally {
      server.freeze('SIGCONT');
    }
    await daemon.untilConnected();
  });

  test('is down, /health and /ready are 503 and say so, and name no file of this host', async () => {
    await server.stop();
    await daemon.untilConnected(false);
    const health = await get('/health');
    expect([health.status, shapeOf(JSON.parse(health.body))]).toEqual([
      503,
      {
        ...HEALTH,
        components: { ...COMPONENTS, postgresql: { healthy: 'boolean', status: text, error: text } },
      },
    ]);
    expect(JSON.parse(health.body)).toMatchObject({
      status: 'unhealthy',
      components: {
        postgresql: { healthy: false, status: 'disconnected', error: 'the server cannot be reached' },
      },
    });
    const ready = await get('/ready');
    expect([ready.status, ready.body]).toEqual([
      503,
      '{"ready":false,"reason":"postgresql connection not established"}',
    ]);
    expect((await get('/live')).status).toBe(200);
    expect((await get('/metrics')).body).toContain('\nsteep_repl_postgresql_connected 0\n');
    // A coordinator resigns when PostgreSQL was away for a lease.
    await waitFor(async () => (await get('/coordinator')).status === 503, 'the coordinator to resign');
    expect(JSON.parse((await get('/coordinator')).body)).toEqual({
      is_coordinator: false,
      coordinator_id: null,
      term: null,
    });
    await waitFor(
      async () => (await get('/metrics')).body.includes('\nsteep_repl_coordinator 0\n'),
      'the metrics to follow',
    );
    expect((await get('/metrics')).body).toContain('\nsteep_repl_coordinator_term 0\n');
    for (const path of [...ROUTES, '/nope']) {
      const { body } = await get(path);
      expect(body).not.toMatch(/\/tmp|\/home|\/work|\.sock|\.yaml/);
      expect(secretIn(body)).toBeUndefined(); // the daemon has one: its PostgreSQL's password
    }
    await server.start();
    await waitFor(async () => (await get('/ready')).status === 200, '/ready to be 200 again');
    await waitFor(async () => (await get('/coordinator')).status === 200, 'it to coordinate again');
    expect(JSON.parse((await get('/coordinator')).body)).toEqual({
      is_coordinator: true,
      coordinator_id: 'node-a',
      term: expect.any(Number),
    });
  });

  test('is held by another daemon, /health does not tell where it lies', async () => {
    // 15 s pass before the second one gives up: it bears the same name.
    const second = await freePort();
    await using other = new DoorDaemon({
      server,
      config: { http: { enabled: true, bind: '127.0.0.1', port: second } },
    });
    await waitFor(() => other.log.includes('"reason":"held"'), 'the second daemon to find the database held');
    const reply = await rawRequest(second, 'GET /health HTTP/1.0\r\n\r\n');
    expect(JSON.parse(reply.body).components.postgresql.error).toBe(
      'another daemon looks after this database',
    );
    expect(reply.body).not.toContain(server.base);
    other.process.kill('SIGKILL');
  });
});
