import { describe, expect, test } from 'bun:test';
import type { AwayReason } from '../../../src/db/errors.ts';
import { routes } from '../../../src/http/routes.ts';
import { Metrics } from '../../../src/lib/metrics.ts';
import type { Issue, Phase, Subject } from '../../../src/operations/subject.ts';

interface Given {
  away?: AwayReason;
  connecting?: boolean;
  phase?: Phase;
  issues?: Issue[];
  witness?: boolean;
  coordinator?: string;
  grpc?: 'listening' | 'without a certificate';
}

const SECRETS = '/run/postgresql/.s.PGSQL.5432 hunter2 /etc/steep/secret.sh';

function subjectWith({
  away,
  connecting,
  phase = 'running',
  issues = [],
  witness,
  coordinator,
  grpc,
}: Given): Subject {
  const since = new Date();
  const state = away
    ? { kind: 'away', reason: away, message: SECRETS, hint: SECRETS, since }
    : connecting
      ? { kind: 'connecting', since }
      : { kind: 'connected', version: '18.4', latencyMs: 0.44, since };
  return {
    version: '1.2.3',
    startedAt: new Date(Date.now() - 5000),
    uptime: () => 5000,
    phase: () => phase,
    config: () => ({
      node_id: 'a',
      node_name: 'A',
      role: witness ? 'witness' : 'node',
      ipc: { enabled: true },
      http: { enabled: true },
      grpc: { enabled: grpc !== undefined },
    }),
    database: witness ? undefined : { state, target: { host: '/run/postgresql', port: 5432, database: 'd' } },
    doors: () => ({
      ipc: { listening: true, path: SECRETS },
      http: { listening: true, port: 1 },
      grpc: { listening: grpc === 'listening', tls: true, port: 2 },
    }),
    issues: () => issues,
    knownNodes: () => [],
    coordinator: () => ({ node_id: coordinator ?? null, term: null, since: null }),
  } as unknown as Subject;
}

async function get(path: string, given: Given): Promise<{ status: number; body: unknown; text: string }> {
  const { status, body } = await routes[path]!({ subject: subjectWith(given), metrics: new Metrics() });
  return { status, text: JSON.stringify(body), body };
}

const REASONS: AwayReason[] = [
  ...(['unreachable', 'starting', 'full', 'refused', 'tls', 'no_database', 'no_rights'] as const),
  ...(['no_extension', 'schema_too_old', 'schema_too_new', 'too_old', 'read_only', 'held'] as const),
];

describe('/health', () => {
  test.each(REASONS)(
    'says in its own words, without a path or secret, that PostgreSQL is away: %s',
    async (away) => {
      const { status, body, text } = await get('/health', {
        away,
        issues: [{ severity: 'error', message: SECRETS, hint: SECRETS }],
      });
      expect(status).toBe(503);
      expect(body).toMatchObject({
        status: 'unhealthy',
        components: { postgresql: { healthy: false, status: 'disconnected' } },
      });
      expect(text).not.toMatch(/hunter2|secret|\/run|\/etc/);
    },
  );

  test.each<[string, Given, number, string]>([
    ['all is well', {}, 200, 'healthy'],
    ['there is only a note', { issues: [{ severity: 'note', message: '', hint: null }] }, 200, 'healthy'],
    ['there is a warning', { issues: [{ severity: 'warning', message: '', hint: null }] }, 200, 'degraded'],
    ['there is an error', { issues: [{ severity: 'error', message: '', hint: null }] }, 200, 'degraded'],
    ['PostgreSQL was not reached yet', { connecting: true }, 503, 'unhealthy'],
    ['gRPC listens', { grpc: 'listening' }, 200, 'healthy'],
    [
      'there is no certificate for gRPC, which is an issue',
      { grpc: 'without a certificate', issues: [{ severity: 'error', message: '', hint: null }] },
      200,
      'degraded',
    ],
    [
      'a witness cannot be reached by gRPC',
      { witness: true, grpc: 'without a certificate' },
      503,
      'unhealthy',
    ],
  ])('when %s', async (_name, given, status, word) => {
    const answer = await get('/health', given);
    expect([answer.status, (answer.body as { status: string }).status]).toEqual([status, word]);
  });

  test('of a witness has no PostgreSQL', async () => {
    const { status, body } = await get('/health', { witness: true });
    expect([status, Object.keys((body as { components: object }).components)]).toEqual([200, ['ipc']]);
  });
});

describe('/ready', () => {
  test.each<[Given, unknown]>([
    [{}, { ready: true }],
    [{ witness: true }, { ready: true }],
    [{ away: 'full' }, { ready: false, reason: 'postgresql connection not established' }],
    [{ connecting: true }, { ready: false, reason: 'postgresql connection not established' }],
    [{ phase: 'starting' }, { ready: false, reason: 'the daemon is starting' }],
    [{ phase: 'stopping' }, { ready: false, reason: 'the daemon is stopping' }],
  ])('for %p is %p', async (given, expected) => {
    const { status, body } = await get('/ready', given);
    expect(body).toEqual(expected);
    expect(status).toBe((expected as { ready: boolean }).ready ? 200 : 503);
  });
});

test('/coordinator is 200 on the coordinator alone', async () => {
  expect((await get('/coordinator', { coordinator: 'a' })).status).toBe(200);
  expect((await get('/coordinator', { coordinator: 'b' })).status).toBe(503);
  expect((await get('/coordinator', {})).status).toBe(503);
});

test('/live is 200 in every phase', async () => {
  for (const phase of ['starting', 'running', 'stopping'] as const)
    expect(await get('/live', { phase, away: 'unreachable' })).toMatchObject({
      status: 200,
      body: { alive: true },
    });
});
