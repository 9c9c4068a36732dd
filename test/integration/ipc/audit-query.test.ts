import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { RawIpc } from '../../support/ipc-raw.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { DoorDaemon } from './support.ts';

interface Entry {
  id: string;
  occurred_at: string;
  action: string;
  actor: string;
  target_type: string | null;
  target_id: string | null;
  success: boolean;
}

const stack = new AsyncDisposableStack();
let server: TestPostgres;
let client: RawIpc;

beforeAll(async () => {
  server = stack.use(await TestPostgres.withExtension());
  // 2,500 rows at five moments only, in an order that has nothing to do with their ids.
  await server.query(
    `INSERT INTO steep_repl.audit_log (occurred_at, action, actor, target_type, target_id, success)
     SELECT timestamptz '2026-01-01 00:00:00.000001Z' + (g * 7 % 5) * interval '1 microsecond',
            (ARRAY['node.updated', 'state.updated', 'rpc.refused'])[g % 3 + 1],
            (ARRAY['anna@local', 'bert@10.0.0.1'])[g % 2 + 1],
            (ARRAY['node', 'state'])[g % 2 + 1], 't' || g % 10, g % 4 <> 0
       FROM generate_series(1, 2500) g`,
  );
  const daemon = stack.use(await DoorDaemon.start({ server }));
  client = stack.use(await RawIpc.open(daemon.socket));
});

afterAll(() => stack.disposeAsync());

async function query(params: Record<string, unknown>): Promise<{
  entries: Entry[];
  total: number;
  total_capped?: boolean;
  has_more: boolean;
  next_cursor: string | null;
}> {
  const { result, error } = await client.ask('audit.query', params);
  if (error) throw new Error(`${error.code}: ${error.message}`);
  return result;
}

/** What the table says, by SQL written for the test. */
async function ids(where: string): Promise<string[]> {
  const rows = await server.query(
    `SELECT id FROM steep_repl.audit_log WHERE ${where} ORDER BY occurred_at DESC, id DESC`,
  );
  return rows.map(({ id }) => String(id));
}

const OLD = { until: '2026-01-02T00:00:00Z' };
const OLD_SQL = `occurred_at < '2026-01-02Z'`;

describe('audit.query filters', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['nothing', {}, 'true'],
    ['by one action', { action_filter: ['rpc.refused'] }, `action = 'rpc.refused'`],
    [
      'by two actions',
      { action_filter: ['rpc.refused', 'node.updated'] },
      `action IN ('rpc.refused', 'node.updated')`,
    ],
    ['by an action that is nowhere', { action_filter: ["x' OR true --"] }, 'false'],
    ['by no action in particular', { action_filter: [], actor_filter: [] }, 'true'],
    ['by actor', { actor_filter: ['bert@10.0.0.1'] }, `actor = 'bert@10.0.0.1'`],
    ['by target type', { target_type: 'state' }, `target_type = 'state'`],
    ['by target', { target_type: 'node', target_id: 't4' }, `target_type = 'node' AND target_id = 't4'`],
    ['by success', { success: true }, 'success'],
    ['by failure', { success: false }, 'NOT success'],
    [
      'from a moment on, itself included',
      { since: '2026-01-01T00:00:00.000003Z' },
      `occurred_at >= '2026-01-01 00:00:00.000003Z'`,
    ],
    [
      'up to a moment, itself not',
      { until: '2026-01-01T01:00:00.000003+01:00' },
      `occurred_at < '2026-01-01 00:00:00.000003Z'`,
    ],
    [
      'by all of it at once',
      {
        action_filter: ['state.updated'],
        actor_filter: ['bert@10.0.0.1'],
        target_type: 'state',
        success: true,
        since: '2026-01-01T00:00:00Z',
      },
      `action = 'state.updated' AND actor = 'bert@10.0.0.1' AND target_type = 'state' AND success`,
    ],
  ])('%s', async (_name, params, where) => {
    const expected = await ids(`${OLD_SQL} AND (${where})`);
    const { entries, total } = await query({ ...OLD, ...params, limit: 1000 });
    expect(total).toBe(expected.length);
    expect(entries.map(({ id }) => id)).toEqual(expected.slice(0, 1000));
  });
});

describe('audit.query gives', () => {
  test.each([1, 97, 1000])(
    'each entry once, newest first, page by page of %d over equal times, while rows are added',
    async (limit) => {
      const expected = (await ids(OLD_SQL)).slice(0, limit === 1 ? 120 : undefined);
      const found: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await query({ ...OLD, limit, ...(cursor === null ? {} : { cursor }) });
        found.push(...page.entries.map(({ id }) => id));
        expect(page.has_more).toBe(page.next_cursor !== null);
        cursor = page.next_cursor;
        // Newer than what was read, though older than `until`: no page may see them, or shift for them.
        await server.query(
          `INSERT INTO steep_repl.audit_log (occurred_at, action, actor) VALUES ('2026-01-01 12:00:00Z', 'node.updated', 'x')`,
        );
      } while (cursor !== null && found.length < expected.length);
      expect(found).toEqual(expected);
    },
  );

  test('by default a hundred, and by offset those after', async () => {
    const expected = await ids(OLD_SQL);
    expect((await query(OLD)).entries.map(({ id }) => id)).toEqual(expected.slice(0, 100));
    const page = await query({ ...OLD, limit: 7, offset: 93 });
    expect([page.entries.map(({ id }) => id), page.has_more]).toEqual([expected.slice(93, 100), true]);
    const end = await query({ ...OLD, limit: 10, offset: expected.length - 10 });
    expect([end.entries.length, end.has_more, end.next_cursor]).toEqual([10, false, null]);
    const beyond = await query({ ...OLD, offset: expected.length });
    expect([beyond.entries, beyond.has_more, beyond.next_cursor, beyond.total]).toEqual([
      [],
      false,
      null,
      expected.length,
    ]);
  });

  test('a total that is counted to 10,000 and then capped', async () => {
    const filter = { action_filter: ['count.me'] };
    await server.query(
      `INSERT INTO steep_repl.audit_log (action, actor) SELECT 'count.me', 'x' FROM generate_series(1, 10000)`,
    );
    const exact = await query({ ...filter, limit: 1 });
    expect([exact.total, exact.total_capped]).toEqual([10_000, undefined]);
    await server.query(`INSERT INTO steep_repl.audit_log (action, actor) VALUES ('count.me', 'x')`);
    const capped = await query({ ...filter, limit: 1 });
    expect([capped.total, capped.total_capped]).toEqual([10_000, true]);
  });
});

describe('audit.query refuses', () => {
  const cursor = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  test.each<[string, Record<string, unknown>]>([
    ['an empty cursor', { cursor: '' }],
    ['a cursor that is no base64', { cursor: '!!' }],
    ['a cursor of something else', { cursor: cursor({ id: 1 }) }],
    ['a cursor without a time', { cursor: cursor(['yesterday', '1']) }],
    ['a cursor with SQL for an id', { cursor: cursor(['2026-01-01T00:00:00Z', '1 OR true']) }],
    ['a cursor whose id is too large', { cursor: cursor(['2026-01-01T00:00:00Z', '9999999999999999999']) }],
    ['a cursor of the year 0', { cursor: cursor(['0000-01-01T00:00:00Z', '1']) }],
    ['a time that PostgreSQL does not know', { since: '0000-01-01T00:00:00Z' }],
    ['a NUL', { target_id: 'a\0b' }],
    ['a NUL in a list', { action_filter: ['a\0b'] }],
  ])('%s', async (_name, params) => {
    const { result, error } = await client.ask('audit.query', params);
    expect([result, error?.code]).toEqual([null, 'INVALID_REQUEST']);
  });
});
