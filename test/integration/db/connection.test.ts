/** A server that comes, goes, hangs and fills up. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Database } from '../../../src/db/database.ts';
import type { SteepError } from '../../../src/lib/errors.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { ms, targetFor, Watched } from './support.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await TestPostgres.withExtension();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Queries without pause, as long as it is not disposed; every one of them must settle. */
class Load implements AsyncDisposable {
  started = 0;
  succeeded = 0;
  readonly failures: SteepError[] = [];
  private readonly workers: Promise<void>[];
  private stopping = false;

  constructor(database: Database, workers = 6) {
    const texts = [
      `select 1`,
      `select 1; select pg_sleep(0.01); select 2`,
      `begin; create temporary table if not exists load (i int); insert into load values (1); commit`,
      `begin; select pg_sleep(0.02); rollback`,
    ];
    this.workers = Array.from({ length: workers }, async () => {
      while (!this.stopping) {
        const text = texts[this.started % texts.length]!;
        this.started += 1;
        try {
          if (this.started % 3 === 0)
            await database.query((sql) => sql`select ${this.started}::int as i, pg_sleep(0.005)`);
          else await database.query((sql) => sql.unsafe(text));
          this.succeeded += 1;
        } catch (error) {
          this.failures.push(error as SteepError);
          await Bun.sleep(5);
        }
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping = true;
    await Promise.all(this.workers);
  }
}

describe('a server', () => {
  test('may be killed 20 times in a row under load, and every query settles', async () => {
    const losses: number[] = [];
    const recoveries: number[] = [];
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    const load = new Load(watched.database);
    try {
      for (let round = 0; round < 20; round++) {
        const sofar = load.succeeded;
        await waitFor(() => load.succeeded >= sofar + 10, 'queries to run again');
        const began = performance.now();
        await server.signal('SIGKILL');
        await watched.untilAway();
        losses.push(performance.now() - began);
        await server.start();
        recoveries.push(await watched.until('connected'));
      }
    } finally {
      await load[Symbol.asyncDispose]();
    }
    console.log(`killed with -9: loss seen ${ms(...losses)}; recovered ${ms(...recoveries)}`);
    console.log(
      `meanwhile ${load.started} queries: ${load.succeeded} succeeded, ${load.failures.length} failed`,
    );
    expect(load.started).toBe(load.succeeded + load.failures.length);
    const codes = new Set(load.failures.map((error) => error.code));
    expect([...codes]).toEqual(['NOT_CONNECTED']);
    // Each loss and each return is told once.
    expect(watched.history.filter((state) => state === 'connected')).toHaveLength(21);
    for (const [i, state] of watched.history.entries()) expect(watched.history[i + 1]).not.toBe(state);
    expect(Math.max(...losses)).toBeLessThan(10_000);
    expect(Math.max(...recoveries)).toBeLessThan(10_000);
  });

  test('that stops politely is away at once, and found again', async () => {
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    const began = performance.now();
    await server.signal('SIGINT');
    await watched.untilAway();
    const loss = performance.now() - began;
    await server.start();
    console.log(`stopped: loss seen ${ms(loss)}, recovered ${ms(await watched.until('connected'))}`);
  });

  test('that hangs is lost, whatever it holds up is told so, and it is found when it goes on', async () => {
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    const losses: number[] = [];
    const recoveries: number[] = [];
    for (const pause of [0, 170, 340]) {
      await Bun.sleep(600 + pause);
      server.freeze('SIGSTOP');
      const began = performance.now();
      const query = watched.database.query((sql) => sql`select 1`).catch((error: unknown) => error);
      await watched.untilAway();
      losses.push(performance.now() - began);
      expect(watched.states.at(-1)?.state).toMatchObject({
        reason: 'unreachable',
        message: 'the server does not answer',
      });
      expect(await query).toMatchObject({ code: 'NOT_CONNECTED' });
      await Bun.sleep(pause);
      server.freeze('SIGCONT');
      recoveries.push(await watched.until('connected'));
    }
    console.log(`frozen: loss seen ${ms(...losses)}; recovered ${ms(...recoveries)}`);
    expect(watched.history).toEqual([
      'connected',
      ...Array.from({ length: 3 }, () => ['unreachable', 'connected']).flat(),
    ]);
    expect(Math.max(...losses)).toBeLessThan(20_000);
  });

  test('that is not to blame for a stall of our own is not lost', async () => {
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    for (let i = 0; i < 3; i++) {
      await Bun.sleep(400);
      const until = performance.now() + 1600;
      while (performance.now() < until); // oxlint-disable-line no-empty -- that is the stall
    }
    await Bun.sleep(300);
    expect(watched.history).toEqual(['connected']);
  });

  test('may end all our sessions at once', async () => {
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    for (let i = 0; i < 3; i++) {
      const queries = [1, 2, 3].map(() =>
        watched.database.query((sql) => sql`select pg_sleep(5)`).catch((error: unknown) => error),
      );
      await Bun.sleep(100);
      await server.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'steep-repl/test'`,
      );
      await watched.untilAway();
      for (const error of await Promise.all(queries)) expect(error).toMatchObject({ code: 'NOT_CONNECTED' });
      await watched.until('connected');
    }
    expect(watched.history).toEqual([
      'connected',
      ...Array.from({ length: 3 }, () => ['unreachable', 'connected']).flat(),
    ]);
  });

  test('that ends one idle session of the pool is not lost', async () => {
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    const [row] = await watched.database.query(
      (sql) => sql<{ pid: number }[]>`select pg_backend_pid() as pid`,
    );
    await server.query(`select pg_terminate_backend(${row!.pid})`);
    await Bun.sleep(100);
    const [other] = await watched.database.query(
      (sql) => sql<{ pid: number }[]>`select pg_backend_pid() as pid`,
    );
    expect(other!.pid).not.toBe(row!.pid);
    expect(watched.history).toEqual(['connected']);
  });

  test('never sees more sessions of ours than pool_max and the watch', async () => {
    await using watched = new Watched(targetFor(server), 3);
    await watched.until('connected');
    const most: number[] = [];
    const settled: number[] = [];
    const running = Array.from({ length: 40 }, async (_, i) => {
      await watched.database.query((sql) => sql`select pg_sleep(0.03)`);
      settled.push(i);
    });
    while (settled.length < 40) {
      const [row] = await server.query(
        `select count(*)::int as n from pg_stat_activity where application_name = 'steep-repl/test'`,
      );
      most.push(row!['n'] as number);
    }
    await Promise.all(running);
    expect(Math.max(...most)).toBe(4);
  });
});

describe('a full server', () => {
  /** A role that may have `free` sessions more than those that are taken. */
  async function role(free: number): Promise<string> {
    const name = `narrow_${free}_${crypto.randomUUID().slice(0, 8)}`;
    await server.query(
      `create role ${name} superuser login; alter role ${name} nosuperuser connection limit ${free}`,
    );
    await server.query(`select steep_repl.grant_daemon('${name}')`);
    return name;
  }

  test('is told once, and used as soon as there is room', async () => {
    const user = await role(0);
    await using watched = new Watched(targetFor(server, { user }));
    await watched.until('full');
    expect(watched.message).toContain('too many connections');
    await Bun.sleep(400);
    await server.query(`alter role ${user} connection limit 10`);
    console.log(`room again: used after ${ms(await watched.until('connected'))}`);
    expect(watched.history).toEqual(['full', 'connected']);
  });

  test('with room for the watch alone is full, and does not come and go', async () => {
    const user = await role(1);
    await using watched = new Watched(targetFor(server, { user }));
    await watched.until('full');
    await Bun.sleep(1500);
    expect(watched.history).toEqual(['full']);
    await server.query(`alter role ${user} connection limit 2`);
    await watched.until('connected');
    // Two sessions are enough for everything, slowly.
    const rows = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        watched.database.query((sql) => sql<{ i: number }[]>`select ${i}::int as i`),
      ),
    );
    expect(rows.map(([row]) => row!.i)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(watched.history).toEqual(['full', 'connected']);
  });

  test('by max_connections is told and used again like that too', async () => {
    await using small = await TestPostgres.withExtension({
      max_connections: 8,
      superuser_reserved_connections: 0,
    });
    await using watched = new Watched(targetFor(small), 2);
    await watched.until('connected');
    const others = Array.from({ length: 12 }, () => small.client());
    try {
      // They take every place that there is, and the one that we lose.
      await Promise.allSettled(others.map((sql) => sql`select 1`));
      await Promise.allSettled(
        others.map(
          (sql) =>
            sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'steep-repl/test'`,
        ),
      );
      await Promise.allSettled(others.map((sql) => sql`select 1`));
      await watched.until('full');
    } finally {
      await Promise.all(others.map((sql) => sql.end({ timeout: 1 })));
    }
    await watched.until('connected');
  });
});

describe('close()', () => {
  test('ends sessions and statements, and gives the database free', async () => {
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    const running = watched.database
      .query((sql) => sql`select pg_sleep(30)`)
      .catch((error: unknown) => error);
    await Bun.sleep(50);
    const began = performance.now();
    await watched.database.close();
    console.log(`closed with a running statement in ${ms(performance.now() - began)}`);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(await running).toMatchObject({ code: 'NOT_CONNECTED' });
    expect(
      await watched.database.query((sql) => sql`select 1`).catch((error: unknown) => error),
    ).toMatchObject({
      code: 'NOT_CONNECTED',
    });
    await using next = new Watched(targetFor(server));
    await next.until('connected');
    expect(next.history).toEqual(['connected']);
    await server.query(`select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'`);
  });

  test('returns quickly while it connects, hangs, waits for a place or waits for the next attempt', async () => {
    const durations: Record<string, number> = {};
    const close = async (what: string, watched: Watched): Promise<void> => {
      const began = performance.now();
      await watched.database.close();
      durations[what] = performance.now() - began;
    };
    await close('connecting', new Watched(targetFor(server)));
    const full = new Watched(targetFor(server), 1);
    await full.until('connected');
    const queries = Array.from({ length: 5 }, () =>
      full.database.query((sql) => sql`select pg_sleep(0.3)`).catch((error: unknown) => error),
    );
    await Bun.sleep(20);
    await close('full', full);
    for (const error of (await Promise.all(queries)).slice(1))
      expect(error).toMatchObject({ code: 'NOT_CONNECTED' });

    const hung = new Watched(targetFor(server));
    await hung.until('connected');
    server.freeze('SIGSTOP');
    try {
      await close('hung, before it is noticed', hung);
      const dialling = new Watched(targetFor(server, { connectTimeout: 20_000 }));
      await Bun.sleep(100);
      await close('hung, while it connects', dialling);
    } finally {
      server.freeze('SIGCONT');
    }
    const waiting = new Watched(targetFor(server, { database: 'nowhere' }));
    await waiting.until('no_database');
    await close('between two attempts', waiting);
    const asking = new Watched(targetFor(server, { passwordCommand: ['sleep', '300'] }));
    await Bun.sleep(50);
    await close('asking for the password', asking);
    for (const [what, duration] of Object.entries(durations)) {
      console.log(`closed while ${what}: ${ms(duration)}`);
      expect(duration).toBeLessThan(15_000);
    }
    await new Watched(targetFor(server)).database.close();
  });
});
