/** Servers that are there and cannot be used: what is said, and how they become usable. */
import { freePort } from '../../support/ports.ts';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { nativeDir, POSTGRES_17, TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { ms, targetFor, Watched } from './support.ts';

let server: TestPostgres;
const folder = mkdtempSync(path.join(tmpdir(), 'refusals-'));
beforeAll(async () => {
  const port = await freePort();
  server = await TestPostgres.withExtension({ port, listen_addresses: '127.0.0.1' });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** A server that is slow to answer on a busy machine does not refuse. */
const PATIENTLY = { connectTimeout: 20_000 };

describe('a password', () => {
  const SECRET = 'correct-horse-1';

  test.concurrent('that is rotated is picked up by the next attempt, and appears in no state', async () => {
    await using strict = TestPostgres.create({ hba: ['local all all scram-sha-256'] });
    strict.useExtension();
    strict.writeHba(['local all all trust']);
    await strict.start();
    await strict.query(
      `create extension steep_repl; set scram_iterations = 20000; alter role postgres password '${SECRET}'`,
    );
    strict.writeHba(['local all all scram-sha-256']);
    await strict.query('select pg_reload_conf()');
    const file = path.join(folder, 'password');
    writeFileSync(file, 'wrong-battery-2\n');
    await using watched = new Watched(targetFor(strict, { ...PATIENTLY, passwordCommand: ['cat', file] }));
    await watched.until('refused');
    expect(watched.message).toBe('password authentication failed for user "postgres"');
    await Bun.sleep(250);
    writeFileSync(file, `${SECRET}\n`);
    console.log(`rotated password: connected after ${ms(await watched.until('connected', 45_000))}`);
    expect(watched.history).toEqual(['refused', 'connected']);

    // Rotated at the server while we are connected: what runs goes on, the next session takes the new one.
    await using admin = strict.client({ password: SECRET });
    await admin.unsafe(`alter role postgres password 'rotated-3'`);
    writeFileSync(file, 'rotated-3');
    await Promise.all([1, 2, 3].map(() => watched.database.query((sql) => sql`select pg_sleep(0.1)`)));
    expect(watched.history).toEqual(['refused', 'connected']);
    rmSync(file);
    await admin.unsafe(
      `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null`,
    );
    await watched.until('refused');
    expect(watched.message).toBe('password_command cat ended with exit code 1');
    const told = JSON.stringify(watched.states);
    for (const secret of ['wrong-battery-2', SECRET, 'rotated-3']) expect(told).not.toContain(secret);
  });

  test.concurrent('that is missing is refused with the place to look', async () => {
    await using strict = TestPostgres.create({ hba: ['local all all scram-sha-256'] });
    await strict.start();
    await using watched = new Watched(targetFor(strict, PATIENTLY));
    await watched.until('refused');
    expect(watched.database.state).toMatchObject({
      hint: 'check postgresql.user (postgres), its password (PGPASSWORD or password_command) and pg_hba.conf',
    });
  });
});

describe('a server', () => {
  test.concurrent('of PostgreSQL 17 is too old, and nothing of it is used', async () => {
    await using old = await TestPostgres.start({ native: nativeDir(POSTGRES_17) });
    await using watched = new Watched(targetFor(old, PATIENTLY));
    await watched.until('too_old');
    expect(watched.message).toMatch(/^PostgreSQL 18 or later is required \(server: 17\.\d+\)$/);
    await Bun.sleep(1200);
    expect(watched.history).toEqual(['too_old']);
    const rows = await old.query(`select 1 from pg_stat_activity where application_name = 'steep-repl/test'`);
    expect([...rows]).toEqual([]);
  });

  const debian15 = '/usr/lib/postgresql/15';
  if (!existsSync(debian15)) console.log(`skipped: no PostgreSQL 15 in ${debian15}`);
  test.skipIf(!existsSync(debian15))('of PostgreSQL 15 is too old', async () => {
    await using old = await TestPostgres.start({ native: debian15 });
    await using watched = new Watched(targetFor(old, PATIENTLY));
    await watched.until('too_old');
    expect(watched.message).toMatch(/^PostgreSQL 18 or later is required \(server: 15\.\d+\)$/);
  });

  test.concurrent('without the database is told which, and used when that is made', async () => {
    await using watched = new Watched(targetFor(server, { ...PATIENTLY, database: 'later' }));
    await watched.until('no_database');
    expect(watched.message).toBe('database "later" does not exist');
    expect(watched.database.state).toMatchObject({ hint: expect.stringContaining('createdb') as string });
    await Bun.sleep(100);
    await server.query('create database later');
    await watched.until('no_extension');
    expect(watched.message).toBe('extension steep_repl is not installed in database later');
    await server.query('create extension steep_repl', 'later');
    await watched.until('connected');
    expect(watched.history).toEqual(['no_database', 'no_extension', 'connected']);
  });

  test.concurrent('with another schema version says whose turn it is', async () => {
    await server.query('create database newer');
    await server.query('create extension steep_repl', 'newer');
    for (const [version, reason, words] of [
      ['0.10.0', 'schema_too_new', 'extension steep_repl is 0.10.0; this program knows up to 0.1.0'],
      ['0.0.9', 'schema_too_old', 'extension steep_repl is 0.0.9; this program needs 0.1.0'],
    ] as const) {
      await server.query(
        `create or replace function steep_repl.version() returns text language sql as 'select text ''${version}'''`,
        'newer',
      );
      await using watched = new Watched(targetFor(server, { database: 'newer' }));
      await watched.until(reason);
      expect(watched.message).toBe(words);
    }
  });

  test.concurrent('that is a standby is read-only, and connected when it is promoted', async () => {
    await using primary = await TestPostgres.withExtension();
    await using standby = TestPostgres.create({ settings: { primary_conninfo: '', hot_standby: 'on' } });
    rmSync(standby.data, { recursive: true });
    await primary.stop();
    cpSync(primary.data, standby.data, { recursive: true });
    standby.useExtension();
    writeFileSync(path.join(standby.data, 'standby.signal'), '');
    await standby.start();
    await using watched = new Watched(targetFor(standby));
    await watched.until('read_only');
    expect(watched.message).toBe('the server is a standby: it takes no writes');
    await standby.query('select pg_promote()');
    await watched.until('connected');
    expect(watched.history.filter((state) => state !== 'starting')).toEqual(['read_only', 'connected']);
  });
});

describe('a role', () => {
  // Not side by side: two that grant rights on one schema at one moment meet in the same tuple.
  test('without rights is told how to get them, whichever is missing, and does not come and go', async () => {
    await server.query(`create role app login`);
    await using watched = new Watched(targetFor(server, { user: 'app' }));
    await watched.until('no_rights');
    expect(watched.message).toBe('role app may not use schema steep_repl');
    expect(watched.database.state).toMatchObject({
      hint: `as the extension's owner:  steep-repl init-extension --grant app`,
    });
    await server.query(`select steep_repl.grant_daemon('app')`);
    await watched.until('connected');
    for (const right of [
      'execute on all functions in schema steep_repl',
      'execute on function steep_repl.prune_audit_log',
      'execute on function steep_repl.daemon_register_node',
      'select on steep_repl.audit_log',
      'usage on schema steep_repl',
    ]) {
      await server.query(`revoke ${right} from app`);
      await using less = new Watched(
        targetFor(server, { user: 'app', database: 'postgres', applicationName: 'less' }),
      );
      await waitFor(() => less.history.length > 0, 'an answer');
      expect(less.history[0]).toBe('no_rights');
      await server.query(`select steep_repl.grant_daemon('app')`);
    }
  });

  test('whose rights end while it is connected loses PostgreSQL once', async () => {
    await server.query(`create role fickle login; select steep_repl.grant_daemon('fickle')`);
    await using watched = new Watched(
      targetFor(server, { ...PATIENTLY, user: 'fickle', database: 'postgres' }),
    );
    await watched.until('connected');
    await server.query('revoke usage on schema steep_repl from fickle');
    await watched.until('no_rights');
    await Bun.sleep(300);
    expect(watched.history).toEqual(['connected', 'no_rights']);
  });
});

describe('a database', () => {
  test('belongs to the first that takes it; the second is told who that is, and follows', async () => {
    await using first = new Watched(targetFor(server, { applicationName: 'steep-repl/first' }));
    await first.until('connected');
    await using second = new Watched(targetFor(server, { applicationName: 'steep-repl/second' }));
    await second.until('held');
    expect(second.message).toMatch(
      /^database .* is held by steep-repl\/first from this host, PostgreSQL pid \d+$/,
    );
    expect(
      await second.database.query((sql) => sql`select 1`).catch((error: unknown) => error),
    ).toMatchObject({
      code: 'NOT_CONNECTED',
    });
    await Bun.sleep(1200);
    await first.database.close();
    console.log(`the second of two daemons has the database after ${ms(await second.until('connected'))}`);
    expect(second.history).toEqual(['held', 'connected']);
  });

  test('is held by an address that TCP shows, and by nobody whom the role may not see', async () => {
    const tcp = { host: '127.0.0.1', sslmode: 'disable' } as const;
    await using first = new Watched(targetFor(server, { ...tcp, applicationName: 'steep-repl/first' }));
    await first.until('connected');
    await using second = new Watched(targetFor(server, { ...tcp, applicationName: 'steep-repl/second' }));
    await second.until('held');
    expect(second.message).toMatch(
      / is held by steep-repl\/first from 127\.0\.0\.1:\d+, PostgreSQL pid \d+$/,
    );
    await server.query(`create role stranger login; select steep_repl.grant_daemon('stranger')`);
    await using third = new Watched(targetFor(server, { ...tcp, user: 'stranger' }));
    await third.until('held');
    expect(third.message).toContain('from an address that this role may not see, PostgreSQL pid');
  });

  test('of the same server is another’s to take', async () => {
    await using first = new Watched(targetFor(server));
    await first.until('connected');
    await using second = new Watched(targetFor(server, { ...PATIENTLY, database: 'later' }));
    await second.until('connected');
    expect([first.history, second.history]).toEqual([['connected'], ['connected']]);
  });
});

test('a statement that lacks a right, a table or a function costs no connection, and fails for itself', async () => {
  await using watched = new Watched(targetFor(server));
  await watched.until('connected');
  const { database } = watched;
  const denied = database.query((sql) =>
    sql.unsafe("do $$ begin raise exception 'no' using errcode = '42501'; end $$"),
  );
  await expect(denied).rejects.toMatchObject({
    code: 'FAILED',
    message: 'no',
    hint: expect.stringContaining('--grant postgres'),
  });
  for (const missing of ['relation "absent_table"', 'function absent_function()']) {
    const name = missing.split(' ')[1]!.replaceAll('"', '');
    await expect(database.query((sql) => sql.unsafe(`select * from ${name}`))).rejects.toMatchObject({
      code: 'FAILED',
      message: `${missing} does not exist`,
      hint: expect.stringContaining('steep-repl init-extension --print'),
    });
  }
  await database.query((sql) => sql`select pg_sleep(0.2)`);
  expect(watched.history).toEqual(['connected']);
});
