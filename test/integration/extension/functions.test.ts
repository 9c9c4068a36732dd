import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Database, ExtensionServer, refusal } from './support.ts';

let server: ExtensionServer;
beforeAll(async () => {
  server = await ExtensionServer.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const nodes = async (db: Database) => [...(await db.sql`select * from steep_repl.nodes order by node_id`)];

describe('register_node', () => {
  test('adds a node with the defaults, and returns it', async () => {
    await using db = await server.database();
    const [node] = await db.sql`select (steep_repl.register_node('a', 'A', 'h')).*`;
    expect(node).toEqual({
      node_id: 'a',
      node_name: 'A',
      host: 'h',
      port: 5432,
      priority: 50,
      is_coordinator: false,
      last_seen: null,
      status: 'unknown',
      grpc_host: null,
      grpc_port: null,
    });
  });

  test('sets the facts of a known node and leaves its status, role and last_seen', async () => {
    await using db = await server.database();
    await db.sql`
      insert into steep_repl.nodes values ('a', 'A', 'h', 1, 1, true, '2020-01-01', 'degraded', 'g', 1)`;
    await db.sql`select steep_repl.register_node('a', 'B', 'i', 2, 3, 'k', 4)`;
    expect(await nodes(db)).toEqual([
      {
        node_id: 'a',
        node_name: 'B',
        host: 'i',
        port: 2,
        priority: 3,
        is_coordinator: true,
        last_seen: new Date('2020-01-01T00:00:00Z'),
        status: 'degraded',
        grpc_host: 'k',
        grpc_port: 4,
      },
    ]);
  });

  test('refuses what the table refuses', async () => {
    await using db = await server.database();
    expect((await refusal(db.sql`select steep_repl.register_node(null, 'A', 'h')`)).code).toBe('23502');
    expect((await refusal(db.sql`select steep_repl.register_node('a', 'A', '')`)).code).toBe('23514');
    expect((await refusal(db.sql`select steep_repl.register_node('a', 'A', 'h', 0)`)).code).toBe('23514');
  });
});

describe('heartbeat', () => {
  test('moves last_seen, and the status if one is given', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.register_node('a', 'A', 'h')`;
    const beat = async (status: string | null = null) => {
      const [row] = await db.sql`select steep_repl.heartbeat('a', ${status}) as known`;
      return row!['known'] as boolean;
    };
    expect(await beat()).toBe(true);
    const seen = async () => {
      const [node] = await nodes(db);
      return [node!['status'], (node!['last_seen'] as Date | null)?.getTime()] as const;
    };
    const [before, first] = await seen();
    expect(before).toBe('unknown');
    expect(first).toBeNumber();
    await Bun.sleep(2);
    expect(await beat('healthy')).toBe(true);
    const [after, second] = await seen();
    expect(after).toBe('healthy');
    expect(second).toBeGreaterThan(first!);
    expect((await refusal(db.sql`select steep_repl.heartbeat('a', 'well')`)).message).toContain(
      'nodes_status_known',
    );
  });

  test('is false for an unknown node, and registers none', async () => {
    await using db = await server.database();
    expect([...(await db.sql`select steep_repl.heartbeat('b') as known`)]).toEqual([{ known: false }]);
    expect(await nodes(db)).toEqual([]);
  });
});

describe('node_status', () => {
  test('lists the nodes with the seconds since each was seen', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.register_node('b', 'B', 'h')`;
    await db.sql`
      insert into steep_repl.nodes values
      ('a', 'A', 'h', 1, 1, true, clock_timestamp() - interval '90 seconds', 'healthy')`;
    const rows = await db.sql`select * from steep_repl.node_status()`;
    expect(rows.columns.map((column) => column.name)).toEqual([
      'node_id',
      'node_name',
      'status',
      'is_coordinator',
      'last_seen',
      'seconds_since_seen',
    ]);
    expect(rows[0]).toMatchObject({ node_id: 'a', status: 'healthy', is_coordinator: true });
    expect(Number(rows[0]!['seconds_since_seen'])).toBeWithin(90, 100);
    expect(rows[1]).toMatchObject({ node_id: 'b', last_seen: null, seconds_since_seen: null });
  });
});

describe('health', () => {
  const health = async (db: Database) =>
    Object.fromEntries(
      (await db.sql`select * from steep_repl.health()`).map((row) => [
        row['component'] as string,
        [row['healthy'], row['detail']],
      ]),
    );

  test('is well after the installation', async () => {
    await using db = await server.database();
    expect(await health(db)).toEqual({
      postgresql: [true, expect.stringMatching(/^PostgreSQL 18\./)],
      writable: [true, 'read-write'],
      extension: [true, 'extension 0.1.0'],
      audit_triggers: [true, '10 triggers enabled'],
      audit_log: [true, 'empty'],
      coordinator: [true, 'none'],
      nodes: [true, 'none registered'],
    });
  });

  test('shows a disabled trigger, a lost node, the coordinator and a read-only transaction', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.register_node('a', 'A', 'h'), steep_repl.register_node('b', 'B', 'h')`;
    await db.sql`select steep_repl.set_node_status('b', 'unreachable')`;
    await db.sql`select steep_repl.set_coordinator('a', 1)`;
    await db.sql`alter table steep_repl.nodes disable trigger nodes_audit`;
    await db.sql`alter table steep_repl.audit_log enable trigger audit_log_append_only`;
    await db.sql`set default_transaction_read_only = on`;
    expect(await health(db)).toMatchObject({
      writable: [false, 'transaction is read-only'],
      audit_triggers: [false, 'missing or disabled: audit_log_append_only, nodes_audit'],
      audit_log: [true, expect.stringMatching(/^newest entry 20/)],
      coordinator: [true, 'a'],
      nodes: [false, '1 unknown, 1 unreachable'],
    });
  });

  test('knows every trigger that there is', async () => {
    await using db = await server.database();
    const [row] = await db.sql`
      select count(*)::int as count from pg_trigger t join pg_class c on c.oid = tgrelid
      where relnamespace = 'steep_repl'::regnamespace and not tgisinternal`;
    expect((await health(db))['audit_triggers']).toEqual([
      true,
      `${row!['count'] as number} triggers enabled`,
    ]);
  });
});

describe('daemon_register_node', () => {
  const register = (db: Database, status: string) =>
    db.sql`select (steep_repl.daemon_register_node('a', 'A', 'h', 1, 2, 'g', 3, ${status})).*`;

  test('writes facts, status and last_seen, and leaves who coordinates', async () => {
    await using db = await server.database();
    expect([...(await register(db, 'healthy'))]).toMatchObject([
      {
        node_id: 'a',
        port: 1,
        priority: 2,
        grpc_host: 'g',
        grpc_port: 3,
        status: 'healthy',
        is_coordinator: false,
      },
    ]);
    await db.sql`update steep_repl.nodes set is_coordinator = true, last_seen = null`;
    const [node] = await register(db, 'degraded');
    expect(node).toMatchObject({ status: 'degraded', is_coordinator: true, last_seen: expect.any(Date) });
  });

  test('does not move last_seen for a node that did not answer', async () => {
    await using db = await server.database();
    for (const status of ['unknown', 'unreachable', 'offline']) {
      const [node] = await register(db, status);
      expect(node).toMatchObject({ status, last_seen: null });
    }
    const [healthy] = await register(db, 'healthy');
    const [lost] = await register(db, 'unreachable');
    expect(lost!['last_seen']).toEqual(healthy!['last_seen']);
  });

  test('writes no audit row when it says the same again', async () => {
    await using db = await server.database();
    expect(await db.audited(() => register(db, 'healthy'))).toHaveLength(1);
    expect(await db.audited(() => register(db, 'healthy'))).toEqual([]);
  });
});

test('set_node_status and remove_node are false for an unknown node', async () => {
  await using db = await server.database();
  const [row] = await db.sql`
    select steep_repl.set_node_status('a', 'healthy') as set, steep_repl.remove_node('a') as removed`;
  expect(row).toEqual({ set: false, removed: false });
  expect(await db.audit()).toEqual([]);
});

describe('set_coordinator', () => {
  const setup = async () => {
    const db = await server.database();
    await db.sql`select steep_repl.register_node('a', 'A', 'h'), steep_repl.register_node('b', 'B', 'h')`;
    return db;
  };
  const coordinators = async (db: Database) =>
    (await db.sql`select node_id from steep_repl.nodes where is_coordinator`).map(
      (row) => row['node_id'] as string,
    );
  const state = async (db: Database) =>
    (await db.sql`select value from steep_repl.coordinator_state where key = 'cluster.coordinator'`)[0]?.[
      'value'
    ];

  test('elects, hands over either way and clears, each change one audit row with the term beside it', async () => {
    await using db = await setup();
    const actions = async (id: string | null, term: number) =>
      (await db.audited(() => db.sql`select steep_repl.set_coordinator(${id}, ${term})`)).map(
        (row) => `${row.action} ${row.target_id}`,
      );
    const recorded = 'state.updated cluster.coordinator';
    expect(await actions('a', 1)).toEqual(['coordinator.elected a', recorded]);
    expect(await state(db)).toEqual({ node_id: 'a', term: 1 });
    expect(await actions('a', 1)).toEqual([]);
    expect(await actions('b', 2)).toEqual(['coordinator.resigned a', 'coordinator.elected b', recorded]);
    expect(await actions('a', 3)).toEqual(['coordinator.resigned b', 'coordinator.elected a', recorded]);
    expect(await actions('a', 4)).toEqual([recorded]);
    expect(await actions(null, 4)).toEqual(['coordinator.resigned a', recorded]);
    expect(await state(db)).toEqual({ node_id: null, term: 4 });
    expect(await coordinators(db)).toEqual([]);
  });

  test('refuses an unknown node and a missing or negative term, and then changes nothing', async () => {
    await using db = await setup();
    await db.sql`select steep_repl.set_coordinator('a', 1)`;
    const unknown = await refusal(db.sql`select steep_repl.set_coordinator('x', 2)`);
    expect([unknown.code, unknown.message]).toEqual(['P0002', 'node "x" is not registered']);
    expect((await refusal(db.sql`select steep_repl.set_coordinator('b', null)`)).message).toBe(
      'term must be 0 or more, not null',
    );
    expect((await refusal(db.sql`select steep_repl.set_coordinator('b', -1)`)).code).toBe('22023');
    expect(await coordinators(db)).toEqual(['a']);
    expect(await state(db)).toEqual({ node_id: 'a', term: 1 });
  });

  test('called by two sessions at once, hundreds of times, leaves one and never fails', async () => {
    await using db = await setup();
    const [one, two] = [db.as('postgres'), db.as('postgres')];
    await Promise.all(
      [one, two].map(async (sql, who) => {
        for (let i = 0; i < 150; i++) {
          await sql`select steep_repl.set_coordinator(${(i + who) % 2 ? 'a' : 'b'}, ${i})`;
          await sql`select steep_repl.heartbeat('a')`;
        }
      }),
    );
    expect(await coordinators(db)).toHaveLength(1);
    const changes = (await db.audit())
      .map((row) => row.action)
      .filter((action) => action.startsWith('coordinator'));
    expect(changes.filter((action) => action.endsWith('elected'))).toHaveLength(
      Math.ceil(changes.length / 2),
    );
  });
});

describe('set_daemon_state', () => {
  const remembered = async (db: Database) =>
    (await db.sql`select value from steep_repl.coordinator_state where key = 'cluster.daemon'`).map(
      (row) => row['value'] as unknown,
    );

  test('records what it is given in one row, audited when it is another value and only then', async () => {
    await using db = await server.database();
    const set = async (value: string) =>
      (await db.audited(() => db.sql`select steep_repl.set_daemon_state(${value}::text::jsonb)`)).map(
        (row) => `${row.action} ${row.target_id}`,
      );
    const recorded = ['state.updated cluster.daemon'];
    expect(await set('{"node_id": "a", "serial": 1}')).toEqual(recorded);
    expect(await set('{"serial": 1, "node_id": "a"}')).toEqual([]);
    expect(await set('{"node_id": "a", "serial": 2}')).toEqual(recorded);
    expect(await remembered(db)).toEqual([{ node_id: 'a', serial: 2 }]);
  });

  test('refuses null, and then changes nothing', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.set_daemon_state('{"serial": 7}')`;
    expect((await refusal(db.sql`select steep_repl.set_daemon_state(null)`)).code).toBe('23502');
    expect(await remembered(db)).toEqual([{ serial: 7 }]);
  });
});

describe('record_events', () => {
  const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
  const event = (n: number, more: Record<string, unknown> = {}) => ({
    event_id: id(n),
    occurred_at: '2026-01-02T03:04:05.678Z',
    action: 'daemon.started',
    target_type: 'daemon',
    target_id: 'a',
    ...more,
  });
  const record = async (db: Database, events: unknown, sql = db.sql) => {
    const [row] = await sql.unsafe('select steep_repl.record_events($1::text::jsonb) as written', [
      JSON.stringify(events),
    ]);
    return row!['written'] as number;
  };

  test('writes what happened, when it happened, by the session that says so', async () => {
    await using db = await server.database();
    const full = event(1, {
      action: 'rpc.refused',
      target_type: 'node',
      target_id: 'b',
      old_value: { a: 1 },
      new_value: { reason: 'unknown CA' },
      success: false,
      error_message: 'refused',
      client_ip: 'fe80::1%eth0',
    });
    expect(await record(db, [full, event(2), event(3, { new_value: [1], occurred_at: '2026-01-02' })])).toBe(
      3,
    );
    const rows = await db.audit();
    expect(rows[0]).toEqual({
      id: '1',
      occurred_at: new Date('2026-01-02T03:04:05.678Z'),
      action: 'rpc.refused',
      actor: 'postgres@local',
      target_type: 'node',
      target_id: 'b',
      old_value: { a: 1 },
      new_value: { reason: 'unknown CA', event_id: id(1) },
      client_ip: 'fe80::1',
      success: false,
      error_message: 'refused',
    });
    expect(rows[1]).toMatchObject({
      old_value: null,
      new_value: { event_id: id(2) },
      client_ip: null,
      success: true,
      error_message: null,
    });
    expect(rows[2]).toMatchObject({
      occurred_at: new Date('2026-01-02T00:00:00Z'),
      new_value: { value: [1], event_id: id(3) },
    });
  });

  test('writes each event once: in one batch, in later batches, and however the UUID is written', async () => {
    await using db = await server.database();
    expect(await record(db, [event(1), event(2), event(1)])).toBe(2);
    expect(await record(db, [event(1), event(3), event(2)])).toBe(1);
    expect(await record(db, [event(1, { occurred_at: '2030-01-01T00:00:00Z', target_id: 'b' })])).toBe(0);
    const upper = event(0, { event_id: 'ABCDEF00-0000-4000-8000-000000000000' });
    expect(await record(db, [upper])).toBe(1);
    expect(await record(db, [{ ...upper, event_id: upper.event_id.toLowerCase() }])).toBe(0);
    expect(await db.audit()).toHaveLength(4);
    expect(await record(db, [])).toBe(0);
  });

  test('writes each event once for two sessions with the same batch, the first of which hangs', async () => {
    await using db = await server.database();
    const batch = Array.from({ length: 50 }, (_, n) => event(n));
    const [one, two] = [db.as('postgres'), db.as('postgres')];
    await one`begin`;
    expect(await record(db, batch, one)).toBe(50);
    let done = false;
    const second = record(db, batch.toReversed(), two).finally(() => (done = true));
    await Bun.sleep(100);
    expect(done).toBe(false);
    await one`commit`;
    expect(await second).toBe(0);
    expect(await db.audit()).toHaveLength(50);
    await one`begin`;
    expect(await record(db, [event(60)], one)).toBe(1);
    const third = record(db, [event(60)], two);
    await one`rollback`;
    expect(await third).toBe(1);
  });

  test('writes each event once for eight sessions that race', async () => {
    await using db = await server.database();
    const batch = Array.from({ length: 30 }, (_, n) => event(n));
    const written = await Promise.all(
      Array.from({ length: 8 }, () =>
        record(
          db,
          batch.toSorted(() => Math.random() - 0.5),
          db.as('postgres'),
        ),
      ),
    );
    expect(written.reduce((sum, n) => sum + n, 0)).toBe(30);
    expect(await db.audit()).toHaveLength(30);
  });

  test('takes a time in the future for now, and still knows the event again', async () => {
    await using db = await server.database();
    const future = event(1, { occurred_at: '2999-01-01T00:00:00Z' });
    expect(await record(db, [future])).toBe(1);
    expect(await record(db, [future])).toBe(0);
    const [row] = await db.sql`select occurred_at <= now() as past from steep_repl.audit_log`;
    expect(row).toEqual({ past: true });
  });

  test.each([
    ['node.registered'],
    ['node.updated'],
    ['node.status_changed'],
    ['node.removed'],
    ['coordinator.elected'],
    ['coordinator.resigned'],
    ['state.updated'],
    ['daemon.started'],
    ['daemon.stopped'],
    ['daemon.reloaded'],
    ['daemon.error'],
    ['config.changed'],
    ['postgresql.lost'],
    ['postgresql.restored'],
    ['rpc.refused'],
    ['certificate.changed'],
    ['audit.pruned'],
    ['audit.overflowed'],
  ])('knows the action %s, which docs/extension.md lists', async (action) => {
    await using db = await server.database();
    expect(await record(db, [event(1, { action })])).toBe(1);
    expect(await Bun.file(`${import.meta.dir}/../../../docs/extension.md`).text()).toContain(`\`${action}\``);
  });

  test.each([
    ['no array', {}, 'events must be a JSON array'],
    ['null', null, 'events must be a JSON array'],
    ['a string', ['x'], 'event 1: is not an object'],
    ['no id', [event(1), event(2, { event_id: undefined })], 'event 2: event_id is not a UUID'],
    ['a wrong id', [event(1, { event_id: '1' })], 'event 1: event_id is not a UUID'],
    ['no time', [event(1, { occurred_at: undefined })], 'event 1: occurred_at is not a time'],
    ['a wrong time', [event(1, { occurred_at: 'then' })], 'event 1: occurred_at is not a time'],
    ['no end of time', [event(1, { occurred_at: '-infinity' })], 'event 1: occurred_at is not a time'],
    ['no action', [event(1, { action: null })], 'event 1: action null is unknown'],
    ['an unknown action', [event(1, { action: 'node.eaten' })], 'event 1: action node.eaten is unknown'],
    ['an unknown target type', [event(1, { target_type: 'cat' })], 'event 1: target_type cat is unknown'],
    ['a doubtful success', [event(1, { success: 'maybe' })], 'event 1: success is not a boolean'],
    ['a wrong address', [event(1, { client_ip: 'home' })], 'event 1: client_ip is not an address'],
  ])('refuses %s and then writes nothing', async (_, events, message) => {
    await using db = await server.database();
    const error = await refusal(record(db, events));
    expect([error.code, error.message]).toEqual(['22023', message]);
    expect(await db.audit()).toEqual([]);
  });
});

describe('prune_audit_log', () => {
  /** Rows of the given ages in days, oldest last. */
  const fill = (db: Database, ...days: number[]) =>
    db.sql`
      insert into steep_repl.audit_log (occurred_at, action, actor, target_id)
      select now() - d * interval '1 day', 'x', 'x', d from unnest(${days}::float8[]) d`;
  const left = async (db: Database) =>
    (await db.sql`select target_id from steep_repl.audit_log where action = 'x' order by occurred_at`).map(
      (row) => Number(row['target_id']),
    );
  const prune = async (db: Database, ...args: string[]) => {
    const [row] = await db.sql.unsafe(`select steep_repl.prune_audit_log(${args.join()}) as removed`);
    return Number(row!['removed']);
  };
  const traces = async (db: Database) => (await db.audit()).filter((row) => row.action === 'audit.pruned');

  test('removes a batch of the oldest at each call and returns how many, until 0', async () => {
    await using db = await server.database();
    await fill(db, 1, 2.5, 3, 5, 9, 4);
    expect(await prune(db, `'2 days'`, '2')).toBe(2);
    expect(await left(db)).toEqual([4, 3, 2.5, 1]);
    expect(await prune(db, `'2 days'`, '2')).toBe(2);
    expect(await prune(db, `'2 days'`)).toBe(1);
    expect(await prune(db, `'2 days'`)).toBe(0);
    expect(await left(db)).toEqual([1]);
  });

  test('removes 10000 at most when nothing is said', async () => {
    await using db = await server.database();
    await db.sql`
      insert into steep_repl.audit_log (occurred_at, action, actor)
      select now() - interval '2 days', 'x', 'x' from generate_series(1, 10001)`;
    expect(await prune(db, `'1 day'`)).toBe(10000);
    expect(await prune(db, `'1 day'`)).toBe(1);
  });

  test.each([
    ['null'],
    [`'23 hours 59 minutes'`],
    [`'0'`],
    [`'-1 day'`],
    [`'-10 years'`],
    [`'1 month -40 days'`],
    [`'1 month -29 days -23 hours'`],
    [`'1 year -364 days -23 hours'`],
    [`'-infinity'`],
  ])('refuses %s as an age, in every time zone', async (age) => {
    await using db = await server.database();
    await fill(db, 0, 0.5, 400);
    for (const zone of ['UTC', 'America/New_York', 'Pacific/Kiritimati']) {
      await db.sql.unsafe(`set timezone = '${zone}'`);
      const error = await refusal(prune(db, age));
      expect(error.code).toBe('22023');
      expect(error.message).toStartWith('older_than must be one day or more, not ');
    }
    expect(await left(db)).toEqual([400, 0.5, 0]);
  });

  test('refuses a batch below 1, and takes a day as an age', async () => {
    await using db = await server.database();
    await fill(db, 2);
    for (const batch of ['0', '-1', 'null']) {
      const error = await refusal(prune(db, `'2 days'`, batch));
      expect(error.message).toBe(`batch must be 1 or more, not ${batch}`);
    }
    expect(await prune(db, `'infinity'`)).toBe(0);
    expect(await prune(db, `'24 hours'`)).toBe(1);
  });

  test('opens no door: neither in its transaction nor in its session can the trail be changed afterwards', async () => {
    await using db = await server.database();
    await fill(db, 2);
    await db.sql`begin`;
    expect(await prune(db, `'1 day'`)).toBe(1);
    expect((await refusal(db.sql`delete from steep_repl.audit_log`)).message).toContain('append-only');
    await db.sql`rollback`;
    expect(await prune(db, `'1 day'`)).toBe(1);
    expect((await refusal(db.sql`delete from steep_repl.audit_log`)).message).toContain('append-only');
  });

  test('works in replica mode, where row triggers guard as well', async () => {
    await using db = await server.database();
    await fill(db, 2, 3);
    await db.sql`set session_replication_role = replica`;
    expect(await prune(db, `'1 day'`)).toBe(2);
  });

  test('leaves one trace for its batches, with who, how far and when', async () => {
    await using db = await server.database();
    await fill(db, 5, 6, 7, 8);
    expect(await prune(db, `'100 days'`)).toBe(0);
    expect(await traces(db)).toEqual([]);
    for (let i = 0; i < 3; i++) expect(await prune(db, `'1 day'`, '1')).toBe(1);
    expect(await traces(db)).toMatchObject([
      {
        actor: 'postgres@local',
        target_type: null,
        new_value: { older_than: '1 day', first_batch: 1, cutoff: expect.stringMatching(/^20.*Z$/) },
      },
    ]);
  });

  test('leaves another trace for reaching further, and for another actor', async () => {
    await using db = await server.database();
    await db.sql`drop role if exists janitor`;
    await db.sql`create role janitor login`;
    await db.sql`select steep_repl.grant_daemon('janitor')`;
    await fill(db, 5, 15, 16, 17, 18);
    await prune(db, `'10 days'`, '1');
    await prune(db, `'10 days 30 minutes'`, '1');
    expect(await traces(db)).toHaveLength(1);
    await using janitor = db.as('janitor');
    await janitor`select steep_repl.prune_audit_log('10 days', 1)`;
    expect((await traces(db)).map((row) => row.actor)).toEqual(['postgres@local', 'janitor@local']);
    await prune(db, `'2 days'`);
    expect(await traces(db)).toHaveLength(3);
    await db.sql`drop owned by janitor`;
    await db.sql`drop role janitor`;
  });

  test('never says 0 to a second pruner while there is more', async () => {
    await using db = await server.database();
    await fill(db, 2, 3, 4, 5, 6);
    const [one, two] = [db.as('postgres'), db.as('postgres')];
    const call = async (sql: typeof one) => {
      const [row] = await sql`select steep_repl.prune_audit_log('1 day', 3) as removed`;
      return Number(row!['removed']);
    };
    await one`begin`;
    expect(await call(one)).toBe(3);
    const second = call(two);
    await Bun.sleep(100);
    await one`commit`;
    expect(await second).toBe(2);
  });
});
