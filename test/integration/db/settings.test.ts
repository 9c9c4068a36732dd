/** What a database, by its settings, can do to the sessions of the daemon: nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { listNodes, registerNode } from '../../../src/db/nodes.ts';
import { examine } from '../../../src/db/install.ts';
import { Session } from '../../../src/db/session.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { targetFor, Watched } from './support.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await TestPostgres.withExtension();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const node = { node_id: 'a', node_name: 'a', host: 'h', port: 5432, priority: 50 };

describe('a database', () => {
  test('whose owner is less than we are cannot make us run his functions', async () => {
    await using sql = server.client();
    await sql.unsafe('CREATE ROLE landlord LOGIN');
    await sql.unsafe('CREATE DATABASE rented OWNER landlord');
    await server.query('CREATE EXTENSION steep_repl', 'rented');
    await using owner = server.client({ user: 'landlord', database: 'rented' });
    await owner.unsafe(`
      CREATE SCHEMA trap;
      CREATE TABLE trap.caught (who text);
      CREATE FUNCTION trap.current_setting(name text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO trap.caught VALUES (session_user);
          RETURN pg_catalog.current_setting(name);
        END
      $$;
      ALTER DATABASE rented SET search_path = trap, pg_catalog;
    `);
    const target = targetFor(server, { database: 'rented' });
    await using watched = new Watched(target);
    await watched.until('connected');
    await registerNode(watched.database, { ...node, grpc_host: null, grpc_port: null }, 'healthy', null);
    await using session = await Session.open(target);
    await examine(session);
    expect([...(await owner`SELECT who FROM trap.caught`)]).toEqual([]);
    // The trap is one: who takes the database's search_path falls into it.
    await server.query(`SELECT current_setting('port')`, 'rented');
    expect([...(await owner`SELECT who FROM trap.caught`)]).toEqual([{ who: 'postgres' }]);
  });

  test('may write dates and isolate transactions as it likes', async () => {
    await server.query('CREATE DATABASE abroad');
    await server.query('CREATE EXTENSION steep_repl', 'abroad');
    await server.query(`ALTER DATABASE abroad SET datestyle = 'German'`);
    await server.query(`ALTER DATABASE abroad SET default_transaction_isolation = 'serializable'`);
    await using watched = new Watched(targetFor(server, { database: 'abroad' }));
    await watched.until('connected');
    const write = (port: number): Promise<void> =>
      registerNode(watched.database, { ...node, port, grpc_host: null, grpc_port: null }, 'healthy', null);
    await write(1);
    // Serializable, most of these would fail.
    await Promise.all(Array.from({ length: 40 }, (_, i) => write(2 + i)));
    const [row] = await listNodes(watched.database);
    expect(Math.abs(Date.now() - Date.parse(row?.last_seen ?? ''))).toBeLessThan(600_000);
  });
});
