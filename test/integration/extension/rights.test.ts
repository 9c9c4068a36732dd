import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Database, ExtensionServer, refusal, schemaOnly } from './support.ts';

let server: ExtensionServer;
beforeAll(async () => {
  server = await ExtensionServer.start();
  await server.server.query(
    'create role daemon login; create role stranger login; create role operator login; create role landlord login',
  );
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const event = JSON.stringify([
  {
    event_id: '00000000-0000-4000-8000-000000000001',
    occurred_at: '2026-01-01T00:00:00Z',
    action: 'daemon.started',
    target_type: 'daemon',
    target_id: 'a',
  },
]);

/** What the daemon does, in the order in which it can. */
const daemonsJob = [
  `select steep_repl.version()`,
  `select * from steep_repl.health()`,
  `select steep_repl.daemon_register_node('a', 'A', 'h', 1, 1, null, null, 'healthy', 'alice')`,
  `select steep_repl.set_node_status('a', 'healthy', 'alice')`,
  `select steep_repl.set_coordinator('a', 1, 'alice')`,
  `select steep_repl.set_coordinator(null, 2)`,
  `select steep_repl.set_daemon_state('{"serial": 1}')`,
  `select steep_repl.record_events('${event}', 'alice')`,
  `select steep_repl.prune_audit_log('1 day')`,
  `select steep_repl.set_acting_for('alice')`,
  `select * from steep_repl.node_status()`,
  `select * from steep_repl.nodes`,
  `select * from steep_repl.coordinator_state`,
  `select * from steep_repl.audit_log`,
  `select steep_repl.remove_node('a', 'alice')`,
  `listen steep_repl`,
];

describe("the daemon's role after grant_daemon", () => {
  test('does everything that the daemon does', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.grant_daemon('daemon')`;
    await using daemon = db.as('daemon');
    for (const statement of daemonsJob) await daemon.unsafe(statement);
    expect((await db.audit()).every((row) => row.actor.startsWith('daemon@local'))).toBe(true);
  });

  test('can do nothing more', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.grant_daemon('daemon')`;
    await db.sql`select steep_repl.register_node('a', 'A', 'h')`;
    await using daemon = db.as('daemon');
    for (const statement of [
      `insert into steep_repl.nodes (node_id, node_name, host) values ('b', 'B', 'h')`,
      `select steep_repl.register_node('b', 'B', 'h')`,
      `update steep_repl.nodes set node_name = 'B'`,
      `update steep_repl.nodes set last_seen = now()`,
      `select steep_repl.heartbeat('a', 'degraded')`,
      `update steep_repl.nodes set is_coordinator = true`,
      `delete from steep_repl.nodes`,
      `truncate steep_repl.nodes`,
      `insert into steep_repl.coordinator_state values ('a.b', '1')`,
      `update steep_repl.coordinator_state set value = '1'`,
      `delete from steep_repl.coordinator_state`,
      `insert into steep_repl.audit_log (action, actor) values ('x', 'x')`,
      `update steep_repl.audit_log set actor = 'x'`,
      `delete from steep_repl.audit_log`,
      `truncate steep_repl.audit_log`,
      `select nextval('steep_repl.audit_log_id_seq')`,
      `alter table steep_repl.audit_log disable trigger all`,
      `create table steep_repl.mine ()`,
      `create function steep_repl.mine() returns int language sql as 'select 1'`,
      `drop extension steep_repl`,
      `alter extension steep_repl update`,
      `select steep_repl.grant_daemon('stranger')`,
      `select steep_repl.audit_append('daemon.started', 'daemon', 'a', null, null)`,
      `select steep_repl.switch_acting_for('x')`,
      `select steep_repl.announce('nodes', 'INSERT', 'x')`,
    ]) {
      const error = await refusal(daemon.unsafe(statement));
      expect([statement, error.code]).toEqual([statement, '42501']);
    }
  });

  test('is the same after granting again, and gone with DROP OWNED', async () => {
    await using db = await server.database();
    const rights = () => db.sql`
      select relname || coalesce(relacl::text, '') as right from pg_class
      where relnamespace = 'steep_repl'::regnamespace
      union all select proname || coalesce(proacl::text, '') from pg_proc where pronamespace = 'steep_repl'::regnamespace
      union all select nspacl::text from pg_namespace where nspname = 'steep_repl' order by 1`;
    const before = JSON.stringify(await rights()).replaceAll('daemon=', '');
    await db.sql`select steep_repl.grant_daemon('daemon')`;
    const once = await rights();
    await db.sql`select steep_repl.grant_daemon('daemon')`;
    expect(await rights()).toEqual(once);
    await db.sql`drop owned by daemon`;
    await using daemon = db.as('daemon');
    expect((await refusal(daemon`select steep_repl.version()`)).code).toBe('42501');
    expect(JSON.stringify(once)).not.toBe(before);
  });
});

describe('grant_daemon', () => {
  test.each([
    ['public'],
    ['PUBLIC'],
    ['current_user'],
    ['nobody_at_all'],
    ['x; drop schema steep_repl cascade'],
  ])('refuses %s, which is no role', async (role) => {
    await using db = await server.database();
    const error = await refusal(db.sql`select steep_repl.grant_daemon(${role})`);
    expect([error.code, error.message]).toEqual(['42704', `role "${role}" does not exist`]);
  });

  test('takes a role whose name needs quotes', async () => {
    await using db = await server.database();
    await db.sql`create role "it's ""a"" Daemon" login`;
    await db.sql`select steep_repl.grant_daemon(${`it's "a" Daemon`})`;
    await using daemon = db.as(`it's "a" Daemon`);
    await daemon`select steep_repl.set_node_status('a', 'healthy')`;
    await db.sql`drop owned by "it's ""a"" Daemon"`;
    await db.sql`drop role "it's ""a"" Daemon"`;
  });
});

describe('another role', () => {
  test('can do nothing, not even with USAGE on the schema but for what runs with its own rights', async () => {
    await using db = await server.database();
    await using stranger = db.as('stranger');
    for (const statement of daemonsJob.slice(0, -1)) {
      expect((await refusal(stranger.unsafe(statement))).message).toBe(
        'permission denied for schema steep_repl',
      );
    }
    await db.sql`grant usage on schema steep_repl to stranger`;
    expect(await stranger`select steep_repl.version()`).toHaveLength(1);
    for (const statement of daemonsJob.slice(1, -1)) {
      expect((await refusal(stranger.unsafe(statement))).message).toMatch(
        /^permission denied for (table|function)/,
      );
    }
  });

  test('reads everything with SELECT on the tables, health() included', async () => {
    await using db = await server.database();
    await db.sql`
      grant usage on schema steep_repl to stranger`;
    await db.sql`grant select on all tables in schema steep_repl to stranger`;
    await db.sql`select steep_repl.register_node('a', 'A', 'h')`;
    await using stranger = db.as('stranger');
    expect(
      (await stranger`select * from steep_repl.health()`).every((row) => row['healthy'] as boolean),
    ).toBe(true);
    expect(await stranger`select * from steep_repl.node_status()`).toHaveLength(1);
  });

  test('registers nodes and sends heartbeats with rights on nodes alone, and is audited', async () => {
    await using db = await server.database();
    await db.sql.unsafe(`
      grant usage on schema steep_repl to operator; grant select, insert, update on steep_repl.nodes to operator`);
    await using operator = db.as('operator');
    await operator`select steep_repl.register_node('a', 'A', 'h')`;
    await operator`select steep_repl.heartbeat('a', 'healthy')`;
    expect((await actorsAndActions(db)).join()).toBe(
      'operator@local node.registered,operator@local node.status_changed',
    );
  });
});

describe('the default privileges of whoever installs it', () => {
  test.each([
    ['the extension', 'create extension steep_repl'],
    ['the schema', schemaOnly()],
  ])('give a role nothing in %s but to read', async (_, install) => {
    await using db = await server.emptyDatabase();
    await db.sql`drop role if exists "The App"`;
    await db.sql`create role "The App" login`;
    await using owner = db.as('landlord');
    await db.sql.unsafe(`grant create on database ${db.name} to landlord`);
    for (const what of ['schemas', 'tables', 'sequences', 'functions'])
      await owner.unsafe(`alter default privileges grant all on ${what} to "The App"`);
    await owner.unsafe(install);
    const rights = await db.sql`
      select 'create' as right from pg_namespace where nspname = 'steep_repl' and has_schema_privilege('The App', oid, 'CREATE')
      union all
      select relname || ' ' || a.privilege_type from pg_class, aclexplode(relacl) as a
      where relnamespace = 'steep_repl'::regnamespace and a.grantee = '"The App"'::regrole
      union all
      select proname from pg_proc where pronamespace = 'steep_repl'::regnamespace and has_function_privilege('The App', oid, 'EXECUTE')
      order by 1`;
    expect(rights.map((row) => row['right'] as string)).toEqual([
      'audit_log SELECT',
      'audit_log_id_seq SELECT',
      'coordinator_state SELECT',
      'health',
      'heartbeat',
      'node_status',
      'nodes SELECT',
      'register_node',
      'version',
    ]);
    await using app = db.as('The App');
    expect(await app`select * from steep_repl.health()`).not.toHaveLength(0);
    await db.sql`drop owned by "The App", landlord cascade`;
    await db.sql`drop role "The App"`;
  });
});

async function actorsAndActions(db: Database): Promise<string[]> {
  return (await db.audit()).map((row) => `${row.actor} ${row.action}`);
}
