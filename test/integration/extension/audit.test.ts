import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Database, ExtensionServer, refusal } from './support.ts';

const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
const port = listener.port;
listener.stop(true);

let server: ExtensionServer;
beforeAll(async () => {
  server = await ExtensionServer.start({ listen_addresses: '127.0.0.1', port, wal_level: 'logical' });
  await server.server.query(
    'create role writer login; create role daemon login; grant pg_execute_server_program to writer',
  );
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** A role with every right on the tables that a careless GRANT can give. */
async function grantTables(db: Database, role: string): Promise<void> {
  await db.sql.unsafe(
    `grant usage on schema steep_repl to ${role}; grant all on all tables in schema steep_repl to ${role}`,
  );
}

const insertNode = `insert into steep_repl.nodes (node_id, node_name, host) values ('a', 'A', 'h')`;

describe('a change of nodes writes one audit row in its transaction:', () => {
  test.each([
    ['an insert', '', insertNode, 'node.registered'],
    ['a status alone', insertNode, `update steep_repl.nodes set status = 'healthy'`, 'node.status_changed'],
    [
      'a status with a heartbeat',
      insertNode,
      `select steep_repl.heartbeat('a', 'healthy')`,
      'node.status_changed',
    ],
    ['the name', insertNode, `update steep_repl.nodes set node_name = 'B'`, 'node.updated'],
    ['the host', insertNode, `update steep_repl.nodes set host = 'i'`, 'node.updated'],
    ['the port', insertNode, `update steep_repl.nodes set port = 1`, 'node.updated'],
    ['the priority', insertNode, `update steep_repl.nodes set priority = 1`, 'node.updated'],
    ['the RPC host', insertNode, `update steep_repl.nodes set grpc_host = 'g'`, 'node.updated'],
    ['the RPC port', insertNode, `update steep_repl.nodes set grpc_port = 1`, 'node.updated'],
    [
      'status and port',
      insertNode,
      `update steep_repl.nodes set status = 'offline', port = 1`,
      'node.updated',
    ],
    [
      'a new coordinator',
      insertNode,
      `update steep_repl.nodes set is_coordinator = true`,
      'coordinator.elected',
    ],
    [
      'a new coordinator with status and port',
      insertNode,
      `update steep_repl.nodes set is_coordinator = true, status = 'healthy', port = 1`,
      'coordinator.elected',
    ],
    [
      'a coordinator no more',
      `${insertNode}; update steep_repl.nodes set is_coordinator = true`,
      `update steep_repl.nodes set is_coordinator = false`,
      'coordinator.resigned',
    ],
    ['a delete', insertNode, `delete from steep_repl.nodes`, 'node.removed'],
    ['an upsert', insertNode, `${insertNode} on conflict (node_id) do update set port = 7`, 'node.updated'],
    [
      'a merge',
      insertNode,
      `merge into steep_repl.nodes using (values ('a')) as v (id) on node_id = id when matched then delete`,
      'node.removed',
    ],
    ['register_node', '', `select steep_repl.register_node('a', 'A', 'h')`, 'node.registered'],
    [
      'daemon_register_node',
      '',
      `select steep_repl.daemon_register_node('a', 'A', 'h', 5432, 50, null, null)`,
      'node.registered',
    ],
    [
      'set_node_status',
      insertNode,
      `select steep_repl.set_node_status('a', 'offline')`,
      'node.status_changed',
    ],
    ['remove_node', insertNode, `select steep_repl.remove_node('a')`, 'node.removed'],
  ])('%s', async (_, before, change, action) => {
    await using db = await server.database();
    await db.sql.unsafe(before);
    const state = async () =>
      (await db.sql`select to_jsonb(n) as node from steep_repl.nodes n`)[0]?.['node'] ?? null;
    const old = await state();
    const rows = await db.audited(() => db.sql.unsafe(change));
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      action,
      actor: 'postgres@local',
      target_type: 'node',
      target_id: 'a',
      client_ip: null,
      success: true,
      error_message: null,
    });
    expect(rows[0]!.old_value).toEqual(old);
    expect(rows[0]!.new_value).toEqual(await state());
  });

  test('many rows in one statement, one audit row each', async () => {
    await using db = await server.database();
    const insert = () => db.sql`
      insert into steep_repl.nodes (node_id, node_name, host) select i, i, 'h' from generate_series(1, 20) i`;
    expect(await db.audited(insert)).toHaveLength(20);
    const update = await db.audited(() => db.sql`update steep_repl.nodes set status = 'healthy'`);
    expect(new Set(update.map((row) => row.target_id)).size).toBe(20);
  });

  test('and a change that is rolled back writes none', async () => {
    await using db = await server.database();
    const rows = await db.audited(async () => {
      await db.sql.unsafe('begin');
      await db.sql.unsafe(insertNode);
      await db.sql.unsafe('rollback');
    });
    expect(rows).toEqual([]);
  });
});

describe('no audit row and no notification comes from', () => {
  test.each([
    ['a heartbeat', `select steep_repl.heartbeat('a')`],
    ['a heartbeat with the status as it is', `select steep_repl.heartbeat('a', 'unknown')`],
    ['moving last_seen', `update steep_repl.nodes set last_seen = now()`],
    ['an update that changes nothing', `update steep_repl.nodes set port = port, status = status`],
    ['registering the same facts again', `select steep_repl.register_node('a', 'A', 'h')`],
    ['a heartbeat of nobody', `select steep_repl.heartbeat('nobody')`],
    ['the status as it is', `select steep_repl.set_node_status('a', 'unknown')`],
    ['the state as it is', `update steep_repl.coordinator_state set value = value`],
  ])('%s', async (_, change) => {
    await using db = await server.database();
    await db.sql.unsafe(`${insertNode}; insert into steep_repl.coordinator_state values ('a.b', '1')`);
    let rows: unknown[] = [];
    const heard = await notifications(db, async () => {
      rows = await db.audited(() => db.sql.unsafe(change));
    });
    expect(rows).toEqual([]);
    expect(heard).toEqual([]);
  });
});

test('a change of coordinator_state writes one state.updated row, whatever the statement', async () => {
  await using db = await server.database();
  for (const [change, old, now] of [
    [`insert into steep_repl.coordinator_state values ('a.b', '1')`, null, 1],
    [`update steep_repl.coordinator_state set value = '2'`, 1, 2],
    [`update steep_repl.coordinator_state set updated_at = '2020-01-01'`, 2, 2],
    [`delete from steep_repl.coordinator_state`, 2, null],
  ] as const) {
    const rows = await db.audited(() => db.sql.unsafe(change));
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ action: 'state.updated', target_type: 'state', target_id: 'a.b' });
    expect(rows[0]!.old_value?.['value'] ?? null).toBe(old);
    expect(rows[0]!.new_value?.['value'] ?? null).toBe(now);
  }
});

describe('the actor', () => {
  test('is the role and address that the server knows, without any right on the trail', async () => {
    await using db = await server.database();
    await db.sql.unsafe(
      `grant usage on schema steep_repl to writer; grant select, insert, update on steep_repl.nodes to writer`,
    );
    await using tcp = db.as('writer', { host: '127.0.0.1' });
    const [row] = await db.audited(() => tcp.unsafe(insertNode));
    expect(row).toMatchObject({ actor: 'writer@127.0.0.1', client_ip: '127.0.0.1' });
    const denied = await refusal(tcp`select from steep_repl.audit_log`);
    expect(denied.message).toBe('permission denied for table audit_log');
  });

  test('stays the login role under SET ROLE', async () => {
    await using db = await server.database();
    await grantTables(db, 'writer');
    const [row] = await db.audited(() => db.sql.unsafe(`set role writer; ${insertNode}; reset role`));
    expect(row!.actor).toBe('postgres@local');
  });

  test('cannot be forged by any setting, even one that names this transaction', async () => {
    await using db = await server.database();
    await grantTables(db, 'writer');
    await using writer = db.as('writer');
    const [row] = await db.audited(async () => {
      await writer.unsafe('begin');
      await writer.unsafe(`
        set steep_repl.acting_for = 'mallory'; set steep_repl.actor = 'mallory';
        set application_name = 'mallory'`);
      await writer`select set_config('steep_repl.acting_for', pg_current_xact_id()::text || ':mallory', false)`;
      await writer.unsafe(insertNode);
      await writer.unsafe('commit');
    });
    expect(row!.actor).toBe('writer@local');
    const denied = await refusal(writer`select steep_repl.set_acting_for('mallory')`);
    expect(denied.message).toBe('permission denied for function set_acting_for');
  });

  test('cannot be forged for the daemon by a setting of its role, its database or a superuser session', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.grant_daemon('daemon')`;
    await db.sql.unsafe(`
      alter role daemon set steep_repl.acting_for = 'mallory';
      alter database ${db.name} set steep_repl.acting_for = 'mallory'; ${insertNode}`);
    await using daemon = db.as('daemon');
    await using superuser = db.as('postgres');
    const rows = await db.audited(async () => {
      await daemon`select steep_repl.set_node_status('a', 'healthy')`;
      await superuser`set steep_repl.acting_for = 'mallory'`;
      await superuser`update steep_repl.nodes set port = 1`;
    });
    await db.sql.unsafe(`alter role daemon reset all; alter database ${db.name} reset all`);
    expect(rows.map((row) => row.actor)).toEqual(['daemon@local', 'postgres@local']);
  });

  test('gets " for X" from the daemon: for a call, or for the rest of a transaction', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.grant_daemon('daemon')`;
    await using daemon = db.as('daemon');
    const rows = await db.audited(async () => {
      await daemon`select steep_repl.daemon_register_node('a', 'A', 'h', 1, 1, null, null, 'healthy', 'alice')`;
      await daemon`select steep_repl.set_node_status('a', 'degraded')`;
      await daemon.unsafe('begin');
      await daemon`select steep_repl.set_acting_for('bob')`;
      await daemon`select steep_repl.set_node_status('a', 'healthy')`;
      await daemon`select steep_repl.set_node_status('a', 'degraded', 'carol')`;
      await daemon`select steep_repl.set_node_status('a', 'healthy')`;
      await daemon`select steep_repl.set_acting_for(null)`;
      await daemon`select steep_repl.set_node_status('a', 'degraded')`;
      await daemon.unsafe('commit');
      await daemon`select steep_repl.remove_node('a', E'eve\nadmin@local')`;
    });
    expect(rows.map((row) => row.actor)).toEqual([
      'daemon@local for alice',
      'daemon@local',
      'daemon@local for bob',
      'daemon@local for carol',
      'daemon@local for bob',
      'daemon@local',
      'daemon@local for eve admin@local',
    ]);
  });
});

describe('audit_log refuses', () => {
  const statements = [
    `update steep_repl.audit_log set actor = 'x'`,
    `update steep_repl.audit_log set actor = 'x' where false`,
    `delete from steep_repl.audit_log`,
    `truncate steep_repl.audit_log`,
    `merge into steep_repl.audit_log using (values (1)) as v (i) on true when matched then delete`,
    `insert into steep_repl.audit_log (action, actor) values ('x', 'x') on conflict (id) do update set actor = 'x'`,
  ];
  test.each([['postgres'], ['owner'], ['writer']])(
    'update, delete, truncate, merge and upsert to %s, in replica mode as well',
    async (who) => {
      await using db = await server.emptyDatabase();
      await db.sql.unsafe(`
        drop role if exists owner; create role owner login;
        grant create on database ${db.name} to owner; grant set on parameter session_replication_role to owner, writer`);
      await using owner = db.as('owner');
      await owner`create extension steep_repl`;
      await grantTables(db, 'writer');
      await db.sql.unsafe(insertNode);
      await using sql = db.as(who);
      for (const mode of ['origin', 'replica', 'local']) {
        await sql.unsafe(`set session_replication_role = ${mode}`);
        for (const statement of statements) {
          // A made-up permission to prune is no better than none, unless the owner himself forges it.
          await sql`select set_config('steep_repl.pruning', 'on', false)`;
          const error = await refusal(sql.unsafe(statement));
          expect([mode, statement, error.message]).toEqual([
            mode,
            statement,
            expect.stringMatching(
              /append-only: (UPDATE|DELETE|TRUNCATE) is refused|written by its own functions/,
            ),
          ]);
          expect(error.code).toBe('42501');
        }
        expect(await db.audit()).toHaveLength(1);
      }
      await db.sql.unsafe(`
        drop extension steep_repl; revoke all on database ${db.name} from owner;
        revoke set on parameter session_replication_role from owner, writer; drop role owner`);
    },
  );

  test('the deletes of a role with rights that claims to be the retention function', async () => {
    await using db = await server.database();
    await db.sql.unsafe(insertNode);
    await grantTables(db, 'writer');
    await using writer = db.as('writer');
    await writer.unsafe('begin');
    await writer`select set_config('steep_repl.pruning', pg_current_xact_id()::text, true)`;
    const error = await refusal(writer`delete from steep_repl.audit_log`);
    expect(error.message).toBe('steep_repl.audit_log is append-only: DELETE is refused');
    await writer.unsafe('rollback');
  });

  test('entries by a role that was granted INSERT, whose actor could be anything', async () => {
    await using db = await server.database();
    await grantTables(db, 'writer');
    await using writer = db.as('writer');
    const insert = writer`insert into steep_repl.audit_log (action, actor) values ('daemon.started', 'root@local')`;
    expect((await refusal(insert)).message).toBe('steep_repl.audit_log is written by its own functions only');
    const copy = writer.unsafe(`copy steep_repl.audit_log (action, actor) from program 'printf "x\\tx\\n"'`);
    expect((await refusal(copy)).message).toBe('steep_repl.audit_log is written by its own functions only');
    expect(await db.audit()).toEqual([]);
  });

  test.each([['UPDATE'], ['DELETE']])('an %s that logical replication brings', async (op) => {
    await using source = await server.emptyDatabase();
    await using db = await server.database();
    const row = `insert into steep_repl.audit_log (action, actor) values ('x', 'x')`;
    await source.sql.unsafe(`
      create schema steep_repl;
      create table steep_repl.audit_log (id bigserial primary key, action text, actor text);
      create publication p for all tables; ${row}`);
    await db.sql.unsafe(row);
    const said = server.server.log.length;
    await subscribe(db, source, async () => {
      await source.sql.unsafe(
        op === 'UPDATE' ? `update steep_repl.audit_log set actor = 'y'` : `delete from steep_repl.audit_log`,
      );
      const refused = new RegExp(`append-only: ${op} is refused[^]*during message type "${op}"`);
      await eventually(() => refused.test(server.server.log.slice(said)));
    });
    expect(await db.audit()).toMatchObject([{ id: '1', actor: 'x' }]);
  });
});

test('what logical replication brings into nodes is audited', async () => {
  await using source = await server.emptyDatabase();
  await using db = await server.database();
  await source.sql.unsafe(`
    create schema steep_repl;
    create table steep_repl.nodes (node_id text primary key, node_name text, host text);
    create publication p for all tables`);
  await subscribe(db, source, async () => {
    await source.sql.unsafe(insertNode);
    await eventually(async () => (await db.audit()).length > 0);
  });
  expect(await db.audit()).toMatchObject([{ action: 'node.registered', target_id: 'a', client_ip: null }]);
});

describe('TRUNCATE of the audited tables', () => {
  test.each([['nodes'], ['coordinator_state'], ['nodes, steep_repl.coordinator_state cascade']])(
    'is refused for %s, in replica mode as well',
    async (tables) => {
      await using db = await server.database();
      for (const mode of ['origin', 'replica']) {
        await db.sql.unsafe(`set session_replication_role = ${mode}`);
        const error = await refusal(db.sql.unsafe(`truncate steep_repl.${tables}`));
        expect(error.message).toMatch(/^TRUNCATE of steep_repl\.\w+ is refused, since it would dodge/);
        expect(error.hint).toBe('Use DELETE, which is audited row by row.');
      }
    },
  );
});

describe('replica mode', () => {
  test('changes nodes and state only with an audit row', async () => {
    await using db = await server.database();
    await db.sql`set session_replication_role = replica`;
    const rows = await db.audited(async () => {
      await db.sql.unsafe(insertNode);
      await db.sql`update steep_repl.nodes set port = 1`;
      await db.sql`delete from steep_repl.nodes`;
      await db.sql`insert into steep_repl.coordinator_state values ('a.b', '1')`;
    });
    expect(rows.map((row) => row.action)).toEqual([
      'node.registered',
      'node.updated',
      'node.removed',
      'state.updated',
    ]);
  });
});

describe('COPY', () => {
  const rows = '\'printf "a\\tA\\th\\nb\\tB\\th\\n"\'';
  const copy = `copy steep_repl.nodes (node_id, node_name, host) from program ${rows}`;

  test('by the owner writes no audit rows: a dump comes back, and has them', async () => {
    await using db = await server.database();
    expect(await db.audited(() => db.sql.unsafe(copy))).toEqual([]);
    expect(await db.sql`select from steep_repl.nodes`).toHaveLength(2);
  });

  test('by another role with rights is audited', async () => {
    await using db = await server.database();
    await grantTables(db, 'writer');
    await using writer = db.as('writer');
    expect(await db.audited(() => writer.unsafe(copy))).toHaveLength(2);
  });

  test('by the owner covers no other statement that comes with it', async () => {
    await using db = await server.database();
    const audited = await db.audited(() =>
      db.sql.unsafe(`
        copy (select 1) to '/dev/null'; ${insertNode};
        copy steep_repl.coordinator_state from '/dev/null'; update steep_repl.nodes set port = 1`),
    );
    expect(audited.map((row) => row.action)).toEqual(['node.registered', 'node.updated']);
  });

  test('of another table by the owner, whose trigger fills nodes, is audited', async () => {
    await using db = await server.database();
    await db.sql.unsafe(`
      create table public.inbox (id text);
      create function public.forward() returns trigger language plpgsql as $$
        begin perform steep_repl.register_node(new.id, new.id, 'h'); return null; end $$;
      create trigger forward after insert on public.inbox for each row execute function public.forward()`);
    const audited = await db.audited(() => db.sql.unsafe(`copy public.inbox from program 'echo a'`));
    expect(audited.map((row) => row.action)).toEqual(['node.registered']);
  });
});

describe('a notification', () => {
  test('tells table, operation and id of each change, and the id of each audit row', async () => {
    await using db = await server.database();
    const heard = await notifications(db, async () => {
      await db.sql.unsafe(insertNode);
      await db.sql`update steep_repl.nodes set port = 1`;
      await db.sql`delete from steep_repl.nodes`;
      await db.sql`insert into steep_repl.coordinator_state values ('a.b', '1')`;
    });
    const ids = (await db.audit()).map((row) => Number(row.id));
    expect(heard).toEqual([
      { table: 'nodes', op: 'INSERT', id: 'a' },
      { table: 'audit_log', id: ids[0] },
      { table: 'nodes', op: 'UPDATE', id: 'a' },
      { table: 'audit_log', id: ids[1] },
      { table: 'nodes', op: 'DELETE', id: 'a' },
      { table: 'audit_log', id: ids[2] },
      { table: 'coordinator_state', op: 'INSERT', id: 'a.b' },
      { table: 'audit_log', id: ids[3] },
    ]);
  });

  test('leaves out an id that is too long for it', async () => {
    await using db = await server.database();
    const heard = await notifications(db, async () => {
      await db.sql`insert into steep_repl.nodes (node_id, node_name, host) values (repeat(${'\u0001'}, 2000), 'A', 'h')`;
      await db.sql`insert into steep_repl.coordinator_state values (repeat('ü', 100000), '1')`;
    });
    expect(heard).toMatchObject([
      { table: 'nodes', op: 'INSERT', id: null },
      { table: 'audit_log' },
      { table: 'coordinator_state', op: 'INSERT', id: null },
      { table: 'audit_log' },
    ]);
  });

  test('comes once from a statement that writes thousands of audit rows, and once from pruning them', async () => {
    await using db = await server.database();
    const heard = await notifications(db, async () => {
      await db.sql`
        insert into steep_repl.audit_log (occurred_at, action, actor)
        select now() - interval '3 days', 'x', 'x' from generate_series(1, 5000)`;
    });
    expect(heard).toEqual([{ table: 'audit_log', id: 5000 }]);
    const pruned = await notifications(db, async () => {
      await db.sql`select steep_repl.prune_audit_log('1 day', 2000)`;
      await db.sql`select steep_repl.prune_audit_log('1 day', 2000)`;
      await db.sql`select steep_repl.prune_audit_log('1 day', 2000)`;
    });
    expect(pruned).toEqual([{ table: 'audit_log', id: 5001 }]);
  });
});

/** The payloads on channel steep_repl that come from `change`. */
async function notifications(db: Database, change: () => Promise<void>): Promise<unknown[]> {
  await using sql = db.as('postgres');
  const heard: unknown[] = [];
  const { promise: end, resolve } = Promise.withResolvers<void>();
  await sql.listen('steep_repl', (payload) =>
    payload === 'end' ? resolve() : heard.push(JSON.parse(payload)),
  );
  await change();
  await db.sql`notify steep_repl, 'end'`;
  await end;
  return heard;
}

/** Runs `change` while `db` applies what happens in `source`; the slot is made by hand, as both are one server. */
async function subscribe(db: Database, source: Database, change: () => Promise<void>): Promise<void> {
  await source.sql`select pg_create_logical_replication_slot('apply_test', 'pgoutput')`;
  await db.sql.unsafe(`
    create subscription s connection 'host=${server.server.base} port=${port} user=postgres dbname=${source.name}'
    publication p with (create_slot = false, slot_name = 'apply_test', copy_data = false)`);
  try {
    await change();
  } finally {
    await db.sql`alter subscription s disable`;
    await db.sql`alter subscription s set (slot_name = none)`;
    await db.sql`drop subscription s`;
    await eventually(async () => {
      const slots = await source.sql`select from pg_replication_slots where active`;
      return slots.length === 0;
    });
    await source.sql`select pg_drop_replication_slot('apply_test')`;
    await source.sql`drop publication p`;
  }
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('waited 20 s in vain');
    await Bun.sleep(20);
  }
}
