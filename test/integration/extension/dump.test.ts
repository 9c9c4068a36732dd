import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import path from 'node:path';
import { missing, run } from './pg18-client.ts';
import { type Database, ExtensionServer, schemaOnly, skipReason } from './support.ts';

const skip = missing !== undefined && skipReason(true, missing);

let server: ExtensionServer;
beforeAll(async () => {
  server = await ExtensionServer.start();
  await server.server.query(
    'create role daemon login; create role owner; create role dba login; grant owner to dba',
  );
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const at = (db: Database, user = 'postgres') => ['-h', db.server.base, '-U', user];

/** Fills all three tables with what is hard to carry: every kind of row, ids with gaps, odd characters. */
async function fill(db: Database, daemon = true): Promise<void> {
  await db.sql.unsafe(`
    select steep_repl.register_node(i::text, E'tab\\t "q" ü \\\\N', 'h', 1, 1, 'g', 1) from generate_series(1, 20) i;
    select steep_repl.set_coordinator('7', 3);
    select steep_repl.heartbeat('8', 'degraded');
    insert into steep_repl.coordinator_state values ('range.a', '{"a": [1, null, "x"]}', '2020-01-01');
    select steep_repl.remove_node('20')`);
  await db.sql.unsafe(`begin; select steep_repl.register_node('x', 'X', 'h'); rollback`);
  await db.sql.unsafe(`
    select steep_repl.record_events('[{"event_id": "00000000-0000-4000-8000-000000000001", "action": "rpc.refused",
      "occurred_at": "2020-01-01T00:00:00Z", "success": false, "error_message": "no", "client_ip": "10.0.0.1"}]')`);
  if (daemon) await db.sql`select steep_repl.grant_daemon('daemon')`;
}

async function rows(db: Database) {
  const all = async (table: string) => [
    ...(await db.sql.unsafe(`select t::text as row from steep_repl.${table} t order by 1`)),
  ];
  const found = {
    nodes: await all('nodes'),
    state: await all('coordinator_state'),
    audit: await all('audit_log'),
  };
  expect(found.nodes).toHaveLength(19);
  expect(found.state.length).toBeGreaterThanOrEqual(2);
  expect(found.audit.length).toBeGreaterThanOrEqual(26);
  return found;
}

/** The restored database goes on: its next change is audited under an id of its own, its events are known. */
async function goesOn(db: Database): Promise<void> {
  const newest = (await db.audit()).at(-1)!;
  const audited = await db.audited(async () => {
    await db.sql`select steep_repl.set_node_status('1', 'offline')`;
    await db.sql`select steep_repl.set_node_status('1', 'healthy')`;
  });
  expect(audited.map((row) => row.action)).toEqual(['node.status_changed', 'node.status_changed']);
  expect(Number(audited[0]!.id)).toBeGreaterThan(Number(newest.id));
  const health =
    await db.sql`select component, detail from steep_repl.health() where not healthy and component <> 'nodes'`;
  expect([...health]).toEqual([]);
  const [again] = await db.sql`
    select steep_repl.record_events('[{"event_id": "00000000-0000-4000-8000-000000000001", "action": "rpc.refused",
      "occurred_at": "2020-01-01T00:00:00Z"}]') as written`;
  expect(again).toEqual({ written: 0 });
}

describe.skipIf(skip)('a dump comes back with every row', () => {
  test.each([
    ['-Fc', ['-Fc'], []],
    ['-Fd -j2', ['-Fd', '-j2'], ['-j2']],
    ['-Ft', ['-Ft'], []],
    ['plain, through psql', ['-Fp'], undefined],
    ['plain in one transaction, through psql', ['-Fp'], '-1'],
  ] as const)('%s', async (name, dumpOptions, restoreOptions) => {
    await using source = await server.database();
    await using target = await server.emptyDatabase();
    await fill(source);
    const before = await rows(source);
    const file = path.join(server.server.base, `dump${name.replaceAll(/\W/g, '')}`);
    run('pg_dump', [...at(source), ...dumpOptions, '-f', file, source.name]);
    if (typeof restoreOptions === 'object') {
      run('pg_restore', [...at(target), ...restoreOptions, '--exit-on-error', '-d', target.name, file]);
    } else {
      const one = restoreOptions === undefined ? [] : [restoreOptions];
      run('psql', [
        ...at(target),
        '-Xq',
        ...one,
        '-v',
        'ON_ERROR_STOP=1',
        '-o',
        '/dev/null',
        '-d',
        target.name,
        '-f',
        file,
      ]);
    }
    expect(await rows(target)).toEqual(before);
    const counter = 'select last_value, is_called from steep_repl.audit_log_id_seq';
    expect([...(await target.sql.unsafe(counter))]).toEqual([...(await source.sql.unsafe(counter))]);
    await using daemon = target.as('daemon');
    await daemon`select steep_repl.set_node_status('1', 'unreachable')`;
    await goesOn(target);
  });

  test.each([['--inserts'], ['--column-inserts'], ['--rows-per-insert=7']])(
    '%s, with an audit row beside them for each node and state that came by INSERT',
    async (option) => {
      await using source = await server.database();
      await using target = await server.emptyDatabase();
      await fill(source);
      const before = await rows(source);
      const dump = run('pg_dump', [...at(source), option, source.name]);
      run(
        'psql',
        [...at(target), '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', target.name],
        dump,
      );
      const after = await rows(target);
      expect(after.nodes).toEqual(before.nodes);
      expect(after.state).toEqual(before.state);
      const restored = new Set(after.audit.map((row) => row['row'] as string));
      expect(before.audit.filter((row) => !restored.has(row['row'] as string))).toEqual([]);
      expect(after.audit).toHaveLength(before.audit.length + before.nodes.length + before.state.length);
      await goesOn(target);
    },
  );

  test('into the hands of a role without superuser rights, by --role of its member', async () => {
    await using source = await server.database();
    await using target = await server.emptyDatabase();
    await fill(source, false);
    const before = await rows(source);
    const file = path.join(server.server.base, 'dump-role');
    run('pg_dump', [...at(source), '-Fc', '-f', file, source.name]);
    await target.sql.unsafe(
      `grant create on database ${target.name} to owner; grant all on schema public to owner`,
    );
    run('pg_restore', [
      ...at(target, 'dba'),
      '--role=owner',
      '--no-owner',
      '--no-comments',
      '--exit-on-error',
      '-d',
      target.name,
      file,
    ]);
    expect(await rows(target)).toEqual(before);
    const [extension] = await target.sql`
      select extowner::regrole::text as owner from pg_extension where extname = 'steep_repl'`;
    expect(extension).toEqual({ owner: 'owner' });
    await goesOn(target);
    await target.sql.unsafe(`drop extension steep_repl; drop owned by owner`);
  });

  test('of the rows alone, into an extension that is there already', async () => {
    await using source = await server.database();
    await using target = await server.database();
    await fill(source, false);
    const before = await rows(source);
    const dump = run('pg_dump', [...at(source), '--data-only', source.name]);
    run('psql', [...at(target), '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', target.name], dump);
    expect(await rows(target)).toEqual(before);
    await goesOn(target);
  });

  test('where there is no schema public', async () => {
    await using source = await server.emptyDatabase();
    await using target = await server.emptyDatabase();
    await source.sql`drop schema public`;
    await target.sql`drop schema public`;
    await source.sql`create extension steep_repl`;
    await fill(source);
    const before = await rows(source);
    const dump = run('pg_dump', [
      ...at(source),
      '--extension=steep_repl',
      '--schema=steep_repl',
      source.name,
    ]);
    run('psql', [...at(target), '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', target.name], dump);
    expect(await rows(target)).toEqual(before);
  });

  test('when it was made without CREATE EXTENSION', async () => {
    await using source = await server.emptyDatabase();
    await using target = await server.emptyDatabase();
    await source.sql.unsafe(schemaOnly());
    await source.sql`insert into steep_repl.coordinator_state values ('steep_repl.schema_version', '"0.1.0"')`;
    await fill(source);
    const before = await rows(source);
    const file = path.join(server.server.base, 'dump-schema');
    run('pg_dump', [...at(source), '-Fc', '-f', file, source.name]);
    run('pg_restore', [...at(target), '-j2', '--exit-on-error', '-d', target.name, file]);
    expect(await rows(target)).toEqual(before);
    await goesOn(target);
  });
});
