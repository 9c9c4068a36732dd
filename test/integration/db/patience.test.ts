/** Changes that are only looked for every few seconds, and slow answers: side by side, each on a server of its own. */
import { describe, expect, test } from 'bun:test';
import type { SteepError } from '../../../src/lib/errors.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { ms, targetFor, Watched } from './support.ts';

describe('a server', () => {
  test.concurrent('that is absent at the start is found when it comes', async () => {
    const late = TestPostgres.create();
    late.useExtension();
    await using absent = late;
    await using watched = new Watched(targetFor(late));
    await watched.until('unreachable');
    expect(watched.message).toBe('no such socket');
    const error = await watched.database.query((sql) => sql`select 1`).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'NOT_CONNECTED' });
    expect((error as SteepError).message).toContain('no such socket');
    expect((error as SteepError).hint).toContain('pg_isready');
    await Bun.sleep(300);
    await absent.start();
    const found = await watched.until('no_extension');
    await absent.query('CREATE EXTENSION steep_repl');
    const created = await watched.until('connected');
    console.log(`found ${ms(found)} after its start; the extension ${ms(created)} after it was created`);
    expect(watched.history.filter((state) => state !== 'starting')).toEqual([
      'unreachable',
      'no_extension',
      'connected',
    ]);
    expect(watched.database.state).toMatchObject({ kind: 'connected', version: '18.4' });
  });

  test.concurrent('that answers slowly once is not lost', async () => {
    await using server = await TestPostgres.withExtension();
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    for (let i = 0; i < 2; i++) {
      await Bun.sleep(500 + i * 130);
      server.freeze('SIGSTOP');
      const slow = watched.database.query((sql) => sql`select 1 as one`);
      await Bun.sleep(900);
      server.freeze('SIGCONT');
      expect([...(await slow)]).toEqual([{ one: 1 }]);
    }
    await Bun.sleep(700);
    expect(watched.history).toEqual(['connected']);
  });

  test.concurrent('whose extension is dropped meanwhile is left alone until it is back', async () => {
    await using server = await TestPostgres.withExtension();
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    await server.query('drop extension steep_repl');
    await watched.until('no_extension');
    await server.query('create extension steep_repl');
    await watched.until('connected');
    expect(watched.history).toEqual(['connected', 'no_extension', 'connected']);
  });

  test.concurrent('that takes no writes any more is read-only until it does again', async () => {
    await using server = await TestPostgres.withExtension();
    await using watched = new Watched(targetFor(server));
    await watched.until('connected');
    await server.query(`alter system set default_transaction_read_only = on`);
    await server.query(`select pg_reload_conf()`);
    await watched.until('read_only');
    {
      await using sql = server.client({ connection: { default_transaction_read_only: false } });
      await sql.unsafe(`alter system reset default_transaction_read_only`);
    }
    await server.query(`select pg_reload_conf()`);
    await watched.until('connected');
    expect(watched.history).toEqual(['connected', 'read_only', 'connected']);
  });
});
