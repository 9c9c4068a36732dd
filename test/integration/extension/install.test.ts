import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TestPostgres } from '../../support/postgres.ts';
import { missing15, missing17, oldServer } from './old-server.ts';
import { type Database, ExtensionServer, installScript, refusal, schemaOnly, skipReason } from './support.ts';

let server: ExtensionServer;
beforeAll(async () => {
  server = await ExtensionServer.start();
  await server.server.query('create role installer login');
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Everything in a database that a CREATE EXTENSION or a script may have left there. */
async function objects(db: Database): Promise<unknown> {
  const rows = await db.sql`
    select 'relation' as kind, oid::text from pg_class where oid >= 16384
    union all select 'function', oid::text from pg_proc where oid >= 16384
    union all select 'type', oid::text from pg_type where oid >= 16384
    union all select 'schema', nspname from pg_namespace where oid >= 16384 and nspname not like 'pg\\_t%' and nspname <> 'public'
    union all select 'extension', extname from pg_extension
    union all select 'trigger', oid::text from pg_trigger
    union all select 'constraint', oid::text from pg_constraint where oid >= 16384
    union all select 'acl', objoid::text from pg_init_privs where objoid >= 16384`;
  return [...rows];
}

describe('CREATE EXTENSION', () => {
  test('makes everything in a schema of its own that belongs to it', async () => {
    await using db = await server.emptyDatabase();
    await db.sql`create extension steep_repl`;
    const outside = await db.sql`
      select pg_describe_object(classid, objid, objsubid) from pg_depend
      where refclassid = 'pg_extension'::regclass and deptype = 'e'
        and refobjid = (select oid from pg_extension where extname = 'steep_repl')
        and pg_describe_object(classid, objid, objsubid) not like '%steep_repl%'`;
    expect([...outside]).toEqual([]);
    const [row] = await db.sql`
      select extversion, steep_repl.version() as version, (
        select deptype from pg_depend where classid = 'pg_namespace'::regclass
          and objid = 'steep_repl'::regnamespace and refobjid = e.oid) as schema_belongs
      from pg_extension e where extname = 'steep_repl'`;
    expect(row).toEqual({ extversion: '0.1.0', version: '0.1.0', schema_belongs: 'e' });
  });

  test('and DROP EXTENSION leave nothing', async () => {
    await using db = await server.emptyDatabase();
    const before = await objects(db);
    await db.sql`create extension steep_repl`;
    await db.sql`select steep_repl.register_node('a', 'A', 'h')`;
    expect(await objects(db)).not.toEqual(before);
    await db.sql`drop extension steep_repl`;
    expect(await objects(db)).toEqual(before);
    await db.sql`create extension steep_repl`;
  });

  test('works without a schema public, and survives its removal', async () => {
    await using db = await server.emptyDatabase();
    await db.sql`drop schema public`;
    await db.sql`create extension steep_repl`;
    await db.sql`create schema public`;
    await db.sql`drop schema public cascade`;
    expect(await db.sql`select steep_repl.version()`).toHaveLength(1);
  });

  test('is for any role that may CREATE in the database, which owns it then', async () => {
    await using db = await server.emptyDatabase();
    await using installer = db.as('installer');
    expect((await refusal(installer`create extension steep_repl`)).code).toBe('42501');
    await db.sql.unsafe(`grant create on database ${db.name} to installer`);
    await installer`create extension steep_repl`;
    await installer`select steep_repl.register_node('a', 'A', 'h')`;
    await installer`select steep_repl.set_coordinator('a', 1)`;
    expect((await db.audit(installer)).map((row) => `${row.action} by ${row.actor}`)).toEqual([
      'node.registered by installer@local',
      'coordinator.elected by installer@local',
      'state.updated by installer@local',
    ]);
    await installer`drop extension steep_repl`;
    await db.sql.unsafe(`revoke all on database ${db.name} from installer`);
  });

  test('is refused, with the remedy, where a schema of that name was made without it', async () => {
    await using db = await server.emptyDatabase();
    await db.sql.unsafe(schemaOnly());
    const error = await refusal(db.sql`create extension steep_repl`);
    expect(error.message).toBe('schema "steep_repl" already exists in this database');
    expect(error.hint).toBe(
      'steep-repl init-extension --no-files keeps this schema up to date; or pg_dump it and drop schema steep_repl first.',
    );
    expect(await db.sql`select from pg_extension where extname = 'steep_repl'`).toHaveLength(0);
    expect(await db.sql`select steep_repl.version()`).toHaveLength(1);
  });
});

describe('an older server', () => {
  for (const [version, missing] of [
    [15, missing15],
    [17, missing17],
  ] as const) {
    const skip = missing !== undefined && skipReason(true, missing);
    test.skipIf(skip)(
      `${version} is told that it is too old, and keeps nothing`,
      async () => {
        const dir = mkdtempSync(path.join(tmpdir(), 'steep-pg-old-'));
        try {
          await using old = await TestPostgres.start({ native: oldServer(version, dir) });
          const [row] = await old.query('show server_version');
          for (const install of ['create extension steep_repl', schemaOnly()]) {
            const error = await refusal(old.query(install));
            expect(error.message).toBe('steep_repl requires PostgreSQL 18 or later');
            expect(error.detail).toBe(`The server runs PostgreSQL ${row!['server_version'] as string}.`);
            expect(row!['server_version']).toStartWith(`${version}.`);
          }
          const left = await old.query(`select nspname from pg_namespace where nspname = 'steep_repl'
            union all select extname from pg_extension where extname = 'steep_repl'`);
          expect([...left]).toEqual([]);
        } finally {
          rmSync(dir, { recursive: true, force: true });
        }
      },
      30_000,
    );
  }
});

describe('an upgrade script', () => {
  const upgrade = `
    alter table steep_repl.nodes add column region text;
    create or replace function steep_repl.version() returns text language sql immutable parallel safe
      set search_path = pg_catalog, pg_temp as $$ select '0.1.1' $$;`;

  test('brings ALTER EXTENSION UPDATE to the next version with every row kept', async () => {
    await using db = await server.database();
    await db.sql`select steep_repl.register_node('a', 'A', 'h')`;
    await db.sql`select steep_repl.set_coordinator('a', 7)`;
    const before = await db.audit();
    const file = path.join(server.server.base, 'ext/extension/steep_repl--0.1.0--0.1.1.sql');
    writeFileSync(file, upgrade);
    try {
      await db.sql`alter extension steep_repl update to '0.1.1'`;
    } finally {
      rmSync(file);
    }
    expect(await db.audit()).toEqual(before);
    const [row] = await db.sql`
      select extversion, steep_repl.version() as version, n.node_id, n.region
      from pg_extension, steep_repl.nodes n where extname = 'steep_repl'`;
    expect(row).toEqual({ extversion: '0.1.1', version: '0.1.1', node_id: 'a', region: null });
    const audited = await db.audited(() => db.sql`update steep_repl.nodes set port = 1`);
    expect(audited[0]!.new_value).toHaveProperty('region');
  });

  test('that was not run is seen in health()', async () => {
    await using db = await server.database();
    const extension = () =>
      db.sql`select healthy, detail from steep_repl.health() where component = 'extension'`;
    expect([...(await extension())]).toEqual([{ healthy: true, detail: 'extension 0.1.0' }]);
    await db.sql.unsafe(upgrade);
    expect([...(await extension())]).toEqual([
      { healthy: false, detail: 'extension 0.1.0, but objects are 0.1.1' },
    ]);
  });
});

describe('without CREATE EXTENSION', () => {
  test('the script loses three blocks and no psql command is left', () => {
    expect(installScript.match(/^-- extension-only begin$/gm)).toHaveLength(3);
    expect(installScript.match(/^-- extension-only end$/gm)).toHaveLength(3);
    expect(schemaOnly()).not.toMatch(/^\\|pg_extension_config_dump|extension-only begin/m);
  });

  test('an ordinary role makes the same objects with the same behaviour', async () => {
    await using db = await server.emptyDatabase();
    await using extension = await server.database();
    await db.sql.unsafe(`grant create on database ${db.name} to installer`);
    await using installer = db.as('installer');
    await installer.unsafe(schemaOnly());
    const definition = `
      select pg_get_functiondef(oid) || coalesce(proacl::text, '') as what from pg_proc
      where pronamespace = 'steep_repl'::regnamespace
      union all select pg_get_triggerdef(oid) || tgenabled::text from pg_trigger where not tgisinternal
      union all select pg_get_constraintdef(oid) from pg_constraint where connamespace = 'steep_repl'::regnamespace
      union all select indexdef from pg_indexes where schemaname = 'steep_repl' order by 1`;
    const made = (await installer.unsafe(definition)).map((row) =>
      (row['what'] as string).replaceAll('installer', 'postgres'),
    );
    expect(made).toEqual((await extension.sql.unsafe(definition)).map((row) => row['what'] as string));
    await installer`select steep_repl.register_node('a', 'A', 'h')`;
    expect(await db.audit()).toMatchObject([{ action: 'node.registered', actor: 'installer@local' }]);
    expect((await refusal(installer`delete from steep_repl.audit_log`)).message).toContain('append-only');
    await db.sql.unsafe(`drop schema steep_repl cascade; revoke all on database ${db.name} from installer`);
  });

  test('health() reads the version that init-extension recorded', async () => {
    await using db = await server.emptyDatabase();
    await db.sql.unsafe(schemaOnly());
    const extension = () =>
      db.sql`select healthy, detail from steep_repl.health() where component = 'extension'`;
    expect([...(await extension())]).toEqual([
      { healthy: false, detail: 'no version recorded, objects are 0.1.0' },
    ]);
    await db.sql`insert into steep_repl.coordinator_state values ('steep_repl.schema_version', '"0.1.0"')`;
    expect([...(await extension())]).toEqual([{ healthy: true, detail: 'schema without extension 0.1.0' }]);
  });

  test('a failure on the way leaves nothing, as it is one transaction', async () => {
    await using db = await server.emptyDatabase();
    await refusal(db.sql.unsafe(`${schemaOnly()}; select 1/0`));
    expect(await db.sql`select from pg_namespace where nspname = 'steep_repl'`).toHaveLength(0);
  });
});

describe('a hostile search_path', () => {
  /** Functions, operators and relations with the names that ours use; each call of one leaves loot. */
  const trap = (schema: string) => `
    create table if not exists public.loot (what text);
    create or replace function ${schema}.btrim(text) returns text language plpgsql as $$
      begin insert into public.loot values ('btrim'); return 'x'; end $$;
    create or replace function ${schema}.pg_notify(text, text) returns void language plpgsql as $$
      begin insert into public.loot values ('pg_notify'); end $$;
    create or replace function ${schema}.now() returns timestamptz language plpgsql as $$
      begin insert into public.loot values ('now'); return '2000-01-01'; end $$;
    create or replace function ${schema}.to_jsonb(anyelement) returns jsonb language plpgsql as $$
      begin insert into public.loot values ('to_jsonb'); return '{}'; end $$;
    create or replace function ${schema}.evil(text, text) returns boolean language plpgsql as $$
      begin insert into public.loot values ('operator'); return true; end $$;
    create operator ${schema}.<> (leftarg = text, rightarg = text, function = ${schema}.evil);
    create operator ${schema}.= (leftarg = text, rightarg = text, function = ${schema}.evil);`;

  test('of the caller calls nothing of his in the functions and triggers, pg_temp included', async () => {
    await using db = await server.database();
    await db.sql`drop role if exists caller`;
    await db.sql.unsafe(`
      create role caller login; grant create on schema public to caller; select steep_repl.grant_daemon('caller');
      grant all on steep_repl.nodes, steep_repl.coordinator_state to caller`);
    await using caller = db.as('caller');
    await caller.unsafe(trap('public'));
    await caller.unsafe(trap('pg_temp'));
    for (const name of [
      'nodes',
      'audit_log',
      'coordinator_state',
      'pg_class',
      'pg_roles',
      'pg_stat_progress_copy',
    ]) {
      await caller.unsafe(`create temp table ${name} (id int)`);
    }
    await caller.unsafe(`set search_path = pg_temp, public, pg_catalog`);
    await caller.unsafe(`
      insert into steep_repl.nodes (node_id, node_name, host) values ('a', 'A', 'h');
      update steep_repl.nodes set port = 1;
      select steep_repl.register_node('b', 'B', 'h');
      select steep_repl.heartbeat('b', 'healthy');
      select steep_repl.daemon_register_node('c', 'C', 'h', 1, 1, null, null);
      select steep_repl.set_node_status('c', 'degraded', 'x');
      select steep_repl.set_coordinator('c', 1);
      select steep_repl.remove_node('c');
      select * from steep_repl.node_status();
      select * from steep_repl.health();
      select steep_repl.record_events('[]');
      select steep_repl.prune_audit_log('1 day');
      insert into steep_repl.coordinator_state values ('a.b', '1')`);
    expect([...(await db.sql`select * from public.loot`)]).toEqual([]);
    expect((await db.audit()).every((row) => row.actor.startsWith('caller@local'))).toBe(true);
    await db.sql`drop owned by caller`;
    await db.sql`drop role caller`;
  });

  test('at the time of installing gets nothing into constraints, defaults, indexes and conditions', async () => {
    for (const install of ['create extension steep_repl', schemaOnly()]) {
      await using db = await server.emptyDatabase();
      await db.sql.unsafe(trap('public'));
      await db.sql`set search_path = public, pg_catalog`;
      await db.sql.unsafe(install);
      const strange = await db.sql`
        select pg_describe_object(classid, objid, objsubid) || ' uses ' || pg_describe_object(refclassid, refobjid, 0)
        from pg_depend
        where (refclassid, refobjid) in (
          select 'pg_proc'::regclass, oid from pg_proc where pronamespace = 'public'::regnamespace
          union all select 'pg_operator'::regclass, oid from pg_operator where oprnamespace = 'public'::regnamespace)
        and pg_describe_object(classid, objid, objsubid) not like 'operator %'`;
      expect([...strange]).toEqual([]);
    }
  });

  test('is met by every function, and what runs as its definer is not for PUBLIC', async () => {
    await using db = await server.database();
    const rows = await db.sql`
      select oid::regprocedure::text, proconfig, prosecdef from pg_proc
      where pronamespace = 'steep_repl'::regnamespace
        and (not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)
             or (prosecdef and has_function_privilege('public', oid, 'execute')))`;
    expect([...rows]).toEqual([]);
    const [count] = await db.sql`
      select count(*)::int as all, count(*) filter (where prosecdef)::int as definer from pg_proc
      where pronamespace = 'steep_repl'::regnamespace`;
    expect(count).toEqual({ all: 25, definer: 11 });
  });
});
