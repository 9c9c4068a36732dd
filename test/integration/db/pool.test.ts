import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Pool } from '../../../src/db/pool.ts';
import type { Target } from '../../../src/db/target.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { targetFor } from './support.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await TestPostgres.start();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

class TestPool extends Pool implements AsyncDisposable {
  readonly applicationName: string;

  constructor(max: number, changes: Partial<Target> = {}) {
    const applicationName = `pool-${crypto.randomUUID()}`;
    super(targetFor(server, { applicationName, ...changes }), max);
    this.applicationName = applicationName;
  }

  run(text: string): Promise<Record<string, unknown>[]> {
    return this.query((sql) => sql.unsafe(text));
  }

  /** Process ids of its sessions at the server. */
  async backends(): Promise<number[]> {
    const rows = await server.query(
      `select pid from pg_stat_activity where application_name = '${this.applicationName}'`,
    );
    return rows.map((row) => row['pid'] as number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(true);
  }
}

const failed = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => new Error(`no error, but ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );

describe('the pool', () => {
  test('a statement that fails after it returned rows leaves none of their places in what the next one returns', async () => {
    await using pool = new TestPool(1);
    const pid = (await pool.run('select pg_backend_pid() as pid'))[0]?.['pid'];
    for (let i = 0; i < 3; i += 1) {
      expect(await failed(pool.run('select 1 / (3 - i) from generate_series(1, 5) i'))).toMatchObject({
        code: '22012',
      });
      const rows = await pool.run('select 42 as answer, pg_backend_pid() as pid');
      expect(rows).toHaveLength(1);
      expect(rows[0]).toEqual({ answer: 42, pid });
    }
  });

  test('never has more sessions than it may, however many ask', async () => {
    await using pool = new TestPool(3);
    let most = 0;
    const settled: number[] = [];
    const queries = Array.from({ length: 60 }, async (_, i) => {
      const [row] = await pool.run(`select pg_sleep(0.02), ${i} as i, pg_backend_pid() as pid`);
      settled.push(i);
      return row as { i: number; pid: number };
    });
    while (settled.length < 60) most = Math.max(most, (await pool.backends()).length);
    const rows = await Promise.all(queries);
    expect(rows.map(({ i }) => i)).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect(new Set(rows.map(({ pid }) => pid)).size).toBeLessThanOrEqual(3);
    expect(most).toBe(3);
  });

  test('uses a free session again instead of opening another', async () => {
    await using pool = new TestPool(4);
    const pids = new Set<unknown>();
    for (let i = 0; i < 5; i++) pids.add((await pool.run('select pg_backend_pid() as pid'))[0]!['pid']);
    expect(pids.size).toBe(1);
  });

  test('tells who waits too long so, and goes on with those who still wait', async () => {
    await using pool = new TestPool(1, { statementTimeout: 400 });
    // Other limits than statement_timeout hold a session longer than the waiters have.
    const long = pool.run('set statement_timeout = 0; select pg_sleep(0.9)');
    const early = failed(pool.run('select 1'));
    await Bun.sleep(300);
    const late = pool.run('select 2 as two');
    const error = await early;
    expect(error).toMatchObject({
      code: 'TIMEOUT',
      message: 'no free connection to PostgreSQL within 400 ms',
    });
    await failed(late);
    await long;
    expect(await pool.run('select 3 as three')).toMatchObject([{ three: 3 }]);
  });

  test('loses no place when a session is opened more slowly than its waiter can wait', async () => {
    const slow = path.join(server.base, 'slow');
    rmSync(slow, { force: true });
    const passwordCommand = ['/bin/sh', '-c', `if test -e ${slow}; then sleep 1.5; fi; echo x`];
    await using pool = new TestPool(1, { statementTimeout: 500, passwordCommand });
    await pool.run('select 1');
    writeFileSync(slow, '');
    const dying = failed(pool.run('select pg_sleep(0.1), pg_terminate_backend(pg_backend_pid())'));
    // The first gets the session that is opened for it; the others wait behind it, then in vain.
    const waiting = [1, 2, 3].map((i) =>
      pool.run(`select ${i} as i`).catch((error: { code: string }) => error.code),
    );
    expect(await dying).toMatchObject({ code: 'ECONNRESET' });
    const outcomes = await Promise.all(waiting);
    expect(outcomes).toEqual([[{ i: 1 }], 'TIMEOUT', 'TIMEOUT']);
    rmSync(slow);
    for (let i = 0; i < 3; i++) expect(await pool.run('select 7 as i')).toMatchObject([{ i: 7 }]);
    expect(await pool.backends()).toHaveLength(1);
  });

  test('never uses a session again that died, idle or at work', async () => {
    await using pool = new TestPool(2);
    await Promise.all([pool.run('select pg_sleep(0.05)'), pool.run('select pg_sleep(0.05)')]);
    const before = await pool.backends();
    expect(before).toHaveLength(2);
    await server.query(`select pg_terminate_backend(${before[0]}), pg_terminate_backend(${before[1]})`);
    await waitFor(async () => (await pool.backends()).length === 0, 'the end of the backends');
    await Bun.sleep(50);
    const rows = await Promise.all(
      [1, 2].map(() => pool.run('select pg_sleep(0.05), pg_backend_pid() as pid')),
    );
    for (const [row] of rows) expect(before).not.toContain(row!['pid'] as number);

    const running = [1, 2].map(() => failed(pool.run('select pg_sleep(30)')));
    const waiting = [1, 2, 3].map((i) => pool.run(`select ${i} as i`));
    await waitFor(async () => {
      const [row] = await server.query(
        `select count(*)::int as n from pg_stat_activity
          where application_name = '${pool.applicationName}' and wait_event = 'PgSleep'`,
      );
      return row!['n'] === 2;
    }, 'the statements to run');
    await server.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '${pool.applicationName}'`,
    );
    for (const error of await Promise.all(running)) expect(error).toMatchObject({ code: 'ECONNRESET' });
    expect(await Promise.all(waiting)).toMatchObject([[{ i: 1 }], [{ i: 2 }], [{ i: 3 }]]);
  });

  test('does not use a session again whose statement had to be given up', async () => {
    await using pool = new TestPool(1, { statementTimeout: 300 });
    const [row] = await pool.run('select pg_backend_pid() as pid');
    const error = await failed(pool.run('set statement_timeout = 0; select pg_sleep(30)'));
    expect(error).toMatchObject({ code: 'TIMEOUT', message: 'PostgreSQL did not answer within 1300 ms' });
    expect((await pool.run('select pg_backend_pid() as pid'))[0]).not.toEqual(row!);
    expect(await failed(pool.run('select pg_sleep(30)'))).toMatchObject({ code: '57014' });
  });

  test('lets nobody wait for a session that cannot be opened', async () => {
    await using pool = new TestPool(1, { database: 'nowhere' });
    const outcomes = await Promise.all([1, 2, 3].map(() => failed(pool.run('select 1'))));
    for (const error of outcomes) expect(error).toMatchObject({ code: '3D000' });
  });

  test('waits for a session of its own when the server has none for it any more', async () => {
    await using roles = server.client();
    await roles.unsafe('create role narrow login connection limit 1');
    await using pool = new TestPool(4, { user: 'narrow' });
    const rows = await Promise.all(
      Array.from({ length: 12 }, (_, i) => pool.run(`select pg_sleep(0.02), ${i} as i`)),
    );
    expect(rows.map(([row]) => row!['i'])).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });
});

describe('a pool that is closed', () => {
  test('ends what runs, waits and comes later with NOT_CONNECTED, and its sessions', async () => {
    const pool = new TestPool(1);
    const running = failed(pool.run('select pg_sleep(30)'));
    const waiting = failed(pool.run('select 1'));
    await waitFor(async () => (await pool.backends()).length === 1, 'the session');
    const began = performance.now();
    await pool.close();
    console.log(`a pool with a running statement closed in ${Math.round(performance.now() - began)} ms`);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(await waiting).toMatchObject({ code: 'NOT_CONNECTED' });
    expect(await failed(pool.run('select 1'))).toMatchObject({ code: 'NOT_CONNECTED' });
    expect(await running).toHaveProperty('code', 'CONNECTION_DESTROYED');
    await server.query(`select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'`);
  });

  test('gives up a session that is just being opened, and the password command with it', async () => {
    const pids = path.join(server.base, 'pids');
    const passwordCommand = ['/bin/sh', '-c', `echo $$ > ${pids}; sleep 300; echo x`];
    const pool = new TestPool(1, { passwordCommand });
    const opening = failed(pool.run('select 1'));
    await waitFor(
      () => existsSync(pids) && readFileSync(pids, 'utf8').endsWith('\n'),
      'the password command',
    );
    const began = performance.now();
    await pool.close(true);
    expect(await opening).toMatchObject({ code: 'NOT_CONNECTED' });
    expect(performance.now() - began).toBeLessThan(20_000);
    const pid = readFileSync(pids, 'utf8').trim();
    await waitFor(() => !existsSync(`/proc/${pid}`), 'the end of the password command');
  });
});
