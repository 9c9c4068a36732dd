import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ExtensionServer, refusal } from './support.ts';

let server: ExtensionServer;
beforeAll(async () => {
  server = await ExtensionServer.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Columns beyond the required ones, as an INSERT would name them. */
const node = (columns: Record<string, string> = {}) => {
  const all = { node_id: `'a'`, node_name: `'A'`, host: `'h'`, ...columns };
  return `insert into steep_repl.nodes (${Object.keys(all).join()}) values (${Object.values(all).join()})`;
};

describe('the columns', () => {
  test('are those of the contract, with type, nullability and default', async () => {
    await using db = await server.database();
    const rows = await db.sql<{ line: string }[]>`
      select concat_ws(' ', table_name || '.' || column_name, data_type, is_nullable,
                       column_default, identity_generation) as line
      from information_schema.columns where table_schema = 'steep_repl'
      order by table_name, ordinal_position`;
    expect(rows.map((row) => row.line)).toEqual([
      'audit_log.id bigint NO ALWAYS',
      'audit_log.occurred_at timestamp with time zone NO now()',
      'audit_log.action text NO',
      'audit_log.actor text NO',
      'audit_log.target_type text YES',
      'audit_log.target_id text YES',
      'audit_log.old_value jsonb YES',
      'audit_log.new_value jsonb YES',
      'audit_log.client_ip inet YES',
      'audit_log.success boolean NO true',
      'audit_log.error_message text YES',
      'coordinator_state.key text NO',
      'coordinator_state.value jsonb NO',
      'coordinator_state.updated_at timestamp with time zone NO now()',
      'nodes.node_id text NO',
      'nodes.node_name text NO',
      'nodes.host text NO',
      'nodes.port integer NO 5432',
      'nodes.priority integer NO 50',
      'nodes.is_coordinator boolean NO false',
      'nodes.last_seen timestamp with time zone YES',
      "nodes.status text NO 'unknown'::text",
      'nodes.grpc_host text YES',
      'nodes.grpc_port integer YES',
    ]);
  });

  test('are indexed as the contract says, and events once', async () => {
    await using db = await server.database();
    const rows = await db.sql<{ indexdef: string }[]>`
      select indexdef from pg_indexes where schemaname = 'steep_repl' order by indexname`;
    expect(rows.map((row) => row.indexdef.replace(/ INDEX \w+ ON steep_repl\./, ' '))).toEqual([
      'CREATE audit_log USING btree (action)',
      'CREATE audit_log USING btree (actor)',
      "CREATE UNIQUE audit_log USING btree (((new_value ->> 'event_id'::text))) WHERE ((new_value ->> 'event_id'::text) IS NOT NULL)",
      'CREATE audit_log USING btree (occurred_at DESC)',
      'CREATE UNIQUE audit_log USING btree (id)',
      'CREATE audit_log USING btree (target_type, target_id) WHERE (target_type IS NOT NULL)',
      'CREATE UNIQUE coordinator_state USING btree (key)',
      'CREATE UNIQUE nodes USING btree (is_coordinator) WHERE is_coordinator',
      'CREATE UNIQUE nodes USING btree (node_id)',
      'CREATE nodes USING btree (status)',
    ]);
  });

  test('and everything else in the schema carry a comment', async () => {
    await using db = await server.database();
    const rows = await db.sql`
      select c.oid::regclass || coalesce('.' || a.attname, '') as nameless
      from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
      where c.relnamespace = 'steep_repl'::regnamespace and c.relkind = 'r'
        and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)
      union all
      select oid::regprocedure::text from pg_proc
      where pronamespace = 'steep_repl'::regnamespace and obj_description(oid, 'pg_proc') is null`;
    expect([...rows]).toEqual([]);
  });
});

describe('nodes accepts', () => {
  test.each([
    [{}],
    [{ port: '1' }],
    [{ port: '65535' }],
    [{ priority: '1' }],
    [{ priority: '100' }],
    [{ grpc_host: `'g'`, grpc_port: '1' }],
    [{ grpc_port: '65535' }],
    [{ grpc_port: 'null' }],
    [{ status: `'unknown'` }],
    [{ status: `'healthy'` }],
    [{ status: `'degraded'` }],
    [{ status: `'unreachable'` }],
    [{ status: `'offline'` }],
    [{ is_coordinator: 'true' }],
    [{ last_seen: 'null' }],
    [{ node_id: `repeat('ü', 20000)` }],
  ])('%j', async (columns) => {
    await using db = await server.database();
    expect((await db.sql.unsafe(node(columns))).count).toBe(1);
  });
});

describe('nodes refuses', () => {
  test.each([
    [{ node_id: 'null' }, 'null value in column "node_id"'],
    [{ node_name: 'null' }, 'null value in column "node_name"'],
    [{ host: 'null' }, 'null value in column "host"'],
    [{ host: `''` }, 'nodes_host_not_empty'],
    [{ host: `'  '` }, 'nodes_host_not_empty'],
    [{ port: '0' }, 'nodes_port_range'],
    [{ port: '65536' }, 'nodes_port_range'],
    [{ port: 'null' }, 'null value in column "port"'],
    [{ priority: '0' }, 'nodes_priority_range'],
    [{ priority: '101' }, 'nodes_priority_range'],
    [{ priority: 'null' }, 'null value in column "priority"'],
    [{ status: `'up'` }, 'nodes_status_known'],
    [{ status: 'null' }, 'null value in column "status"'],
    [{ is_coordinator: 'null' }, 'null value in column "is_coordinator"'],
    [{ grpc_port: '0' }, 'nodes_grpc_port_range'],
    [{ grpc_port: '65536' }, 'nodes_grpc_port_range'],
  ])('%j', async (columns, message) => {
    await using db = await server.database();
    expect((await refusal(db.sql.unsafe(node(columns)))).message).toContain(message);
  });

  test('a second node of the same id, and a second coordinator', async () => {
    await using db = await server.database();
    await db.sql.unsafe(node({ is_coordinator: 'true' }));
    expect((await refusal(db.sql.unsafe(node()))).message).toContain('nodes_pkey');
    const second = node({ node_id: `'b'`, is_coordinator: 'true' });
    expect((await refusal(db.sql.unsafe(second))).message).toContain('nodes_one_coordinator');
    await db.sql.unsafe(node({ node_id: `'b'` }));
    const update = db.sql`update steep_repl.nodes set is_coordinator = true where node_id = 'b'`;
    expect((await refusal(update)).message).toContain('nodes_one_coordinator');
  });

  test('another node_id for a known node, since the audit trail knows it by that', async () => {
    await using db = await server.database();
    await db.sql.unsafe(node());
    const error = await refusal(db.sql`update steep_repl.nodes set node_id = 'b'`);
    expect(error.message).toBe('the node_id of node "a" cannot be changed');
    expect(error.hint).toBe('Remove the node and register it under the new id.');
  });
});

describe('coordinator_state', () => {
  test('refuses a second value for a key, a missing value, and another key for a value', async () => {
    await using db = await server.database();
    const insert = (key: string, value: string) =>
      db.sql.unsafe(`insert into steep_repl.coordinator_state (key, value) values (${key}, ${value})`);
    await insert(`'a.b'`, `'1'`);
    expect((await refusal(insert(`'a.b'`, `'2'`))).message).toContain('coordinator_state_pkey');
    expect((await refusal(insert(`'a.c'`, 'null'))).message).toContain('null value in column "value"');
    expect((await refusal(insert('null', `'1'`))).message).toContain('null value in column "key"');
    const rename = db.sql`update steep_repl.coordinator_state set key = 'a.d'`;
    expect((await refusal(rename)).message).toBe('the key "a.b" of coordinator_state cannot be changed');
  });

  test('keeps updated_at for whoever does not set it, and takes it from whoever does', async () => {
    await using db = await server.database();
    await db.sql`insert into steep_repl.coordinator_state values ('a.b', '1', '2020-01-01')`;
    const update = async (set: string): Promise<number> => {
      const [row] = await db.sql.unsafe<{ age: number }[]>(
        `update steep_repl.coordinator_state set ${set}
         returning extract(year from updated_at)::int as age`,
      );
      return row!.age;
    };
    expect(await update(`value = '1'`)).toBe(2020);
    expect(await update(`value = '2', updated_at = '2021-01-01'`)).toBe(2021);
    expect(await update(`value = '3'`)).toBeGreaterThan(2021);
  });
});

describe('audit_log', () => {
  test('needs action and actor, and counts its ids itself', async () => {
    await using db = await server.database();
    const insert = (columns: string, values: string) =>
      db.sql.unsafe(`insert into steep_repl.audit_log (${columns}) values (${values})`);
    expect((await refusal(insert('actor', `'x'`))).message).toContain('null value in column "action"');
    expect((await refusal(insert('action', `'x'`))).message).toContain('null value in column "actor"');
    expect((await refusal(insert('id, action, actor', `1, 'x', 'x'`))).message).toContain(
      'cannot insert a non-DEFAULT value into column "id"',
    );
    const unsure = insert('action, actor, success', `'x', 'x', null`);
    expect((await refusal(unsure)).message).toContain('null value in column "success"');
  });
});
