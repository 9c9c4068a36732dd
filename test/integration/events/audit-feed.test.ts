/** The feed of the audit trail itself, on a real server: transactions end in every order, each row comes once. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { AuditFeed } from '../../../src/db/audit-feed.ts';
import { Database } from '../../../src/db/database.ts';
import { type TestClient, TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';

const stack = new AsyncDisposableStack();
let server: TestPostgres;
let database: Database;
let admin: TestClient;
/** What the feed takes for the time: a test need not wait for it. */
let now = 0;

beforeAll(async () => {
  server = stack.use(await TestPostgres.withExtension());
  admin = stack.use(server.client());
  database = new Database({
    poolMax: 2,
    target: {
      host: server.base,
      port: server.port,
      database: 'postgres',
      user: 'postgres',
      password: undefined,
      passwordCommand: undefined,
      sslmode: 'disable',
      sslrootcert: undefined,
      sslcert: undefined,
      sslkey: undefined,
      connectTimeout: 5000,
      statementTimeout: 30_000,
      applicationName: 'feed',
    },
  });
  stack.defer(() => database.close());
  database.start();
  await waitFor(() => database.state.kind === 'connected', 'the database to be connected');
});

afterAll(() => stack.disposeAsync());

const INSERT = `INSERT INTO steep_repl.audit_log (action, actor) VALUES ('state.updated', 'x')`;

async function begunFeed(): Promise<AuditFeed> {
  const feed = new AuditFeed(() => now);
  await feed.begin(database);
  return feed;
}

async function highestId(): Promise<number> {
  const [row] = await admin.unsafe('SELECT coalesce(max(id), 0) AS id FROM steep_repl.audit_log');
  return Number(row!['id']);
}

async function idsAfter(id: number): Promise<string[]> {
  const rows = await admin.unsafe(`SELECT id FROM steep_repl.audit_log WHERE id > ${id} ORDER BY id`);
  return rows.map((row) => String(row['id']));
}

/** Looks until the feed neither gives anything nor waits for a gap. */
async function drain(feed: AuditFeed): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const entries = await feed.next(database);
    found.push(...entries.map(({ id }) => id));
    if (entries.length === 0 && !feed.waiting) return found;
    now += 1001;
    if (entries.length === 0) await admin.unsafe('SELECT pg_current_xact_id()'); // time goes on in the server too
  }
}

function sorted(ids: string[]): string[] {
  return ids.toSorted((a, b) => Number(a) - Number(b));
}

async function open(count: number): Promise<TestClient[]> {
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const client = stack.use(server.client());
      await client.unsafe('SELECT 1');
      return client;
    }),
  );
}

describe('the feed', () => {
  test('gives nothing that was there before it began, and then everything by id', async () => {
    await server.query(INSERT);
    const feed = await begunFeed();
    const start = await highestId();
    expect(await feed.next(database)).toEqual([]);
    await server.query(`${INSERT}, ('node.updated', 'y'), ('node.updated', 'z')`);
    const entries = await feed.next(database);
    expect(entries.map(({ id }) => id)).toEqual(await idsAfter(start));
    expect(entries.map(({ actor }) => actor)).toEqual(['x', 'y', 'z']);
    expect(await feed.next(database)).toEqual([]);
  });

  test('gives a row whose transaction ends after those of higher ids, however late', async () => {
    const [late] = await open(1);
    const feed = await begunFeed();
    await late!.unsafe(`BEGIN; ${INSERT}`);
    await server.query(INSERT);
    const [later] = await feed.next(database);
    for (let look = 0; look < 5; look += 1) {
      now += 60_000;
      expect(await feed.next(database)).toEqual([]);
      expect(feed.waiting).toBe(true);
    }
    await late!.unsafe('COMMIT');
    const entries = await drain(feed);
    expect(entries).toEqual([String(Number(later!.id) - 1)]);
  });

  test('gives a late row also when no transaction ended that began after its own', async () => {
    const [late, early] = await open(2);
    const feed = await begunFeed();
    // The server counts as known only what lies below the youngest transaction that ended: this one does not.
    await early!.unsafe('BEGIN; SELECT pg_current_xact_id()');
    await late!.unsafe(`BEGIN; ${INSERT}`);
    await early!.unsafe(`${INSERT}; COMMIT`);
    expect(await feed.next(database)).toHaveLength(1);
    for (let look = 0; look < 5; look += 1) {
      now += 1001;
      expect(await feed.next(database)).toEqual([]);
    }
    await late!.unsafe('COMMIT');
    expect(await drain(feed)).toHaveLength(1);
  });

  test('gives a row whose transaction was open when the feed began', async () => {
    const [late] = await open(1);
    await late!.unsafe(`BEGIN; ${INSERT}`);
    await server.query(INSERT);
    const feed = await begunFeed();
    expect(await feed.next(database)).toEqual([]);
    await late!.unsafe('COMMIT');
    expect(await drain(feed)).toHaveLength(1);
  });

  test('gives up a gap when the transaction was rolled back, and every older one has ended', async () => {
    const [failing, old] = await open(2);
    await old!.unsafe('BEGIN; SELECT pg_current_xact_id()');
    const feed = await begunFeed();
    await failing!.unsafe(`BEGIN; ${INSERT}; ROLLBACK`);
    await server.query(INSERT);
    expect(await feed.next(database)).toHaveLength(1);
    now += 1001;
    await feed.next(database);
    now += 1001;
    await feed.next(database);
    expect(feed.waiting).toBe(true);
    await old!.unsafe('COMMIT');
    expect(await drain(feed)).toEqual([]);
  });

  test('gives ten thousand rows of one transaction, around a hole of as many of another, each once', async () => {
    const [late] = await open(1);
    const feed = await begunFeed();
    const start = await highestId();
    const many = `INSERT INTO steep_repl.audit_log (action, actor) SELECT 'state.updated', 'x' FROM generate_series(1, 3333)`;
    await server.query(many);
    await late!.unsafe(`BEGIN; ${many}`);
    await server.query(many);
    const found: string[] = [];
    for (let look = 0; look < 9; look += 1) {
      found.push(...(await feed.next(database)).map(({ id }) => id));
      now += 1001; // so that the hole is only waited for until its transaction ends
    }
    expect(found).toHaveLength(6666);
    await late!.unsafe('COMMIT');
    found.push(...(await drain(feed)));
    expect(new Set(found).size).toBe(9999);
    expect(sorted(found)).toEqual(await idsAfter(start));
  });

  test('looks only for what it wants: a trail of 200,000 rows and 300 gaps do not slow it down', async () => {
    await server.query(
      `INSERT INTO steep_repl.audit_log (action, actor) SELECT 'state.updated', 'x' FROM generate_series(1, 200000)`,
    );
    const [old] = await open(1);
    await old!.unsafe('BEGIN; SELECT pg_current_xact_id()');
    const feed = await begunFeed();
    await server.query(
      `DO $$ BEGIN FOR i IN 1..300 LOOP ${INSERT}; PERFORM nextval('steep_repl.audit_log_id_seq'); END LOOP; END $$`,
    );
    const times: number[] = [];
    for (let look = 0; look < 10; look += 1) {
      const began = performance.now();
      expect(await feed.next(database)).toHaveLength(look === 0 ? 300 : 0);
      times.push(performance.now() - began);
    }
    console.log(
      `a look with 300 gaps in 200,000 rows: ${sorted(times.map((time) => time.toFixed(1))).at(5)} ms (median)`,
    );
    // It took more than ten seconds when each look read the whole trail.
    expect(Math.min(...times)).toBeLessThan(5000);
    await old!.unsafe('COMMIT');
    await drain(feed);
  });

  test('goes on where ids begin again lower, as after a restored backup', async () => {
    const feed = await begunFeed();
    await server.query(INSERT);
    expect(await feed.next(database)).toHaveLength(1);
    await server.query('DROP EXTENSION steep_repl CASCADE');
    await server.query('CREATE EXTENSION steep_repl');
    await server.query(INSERT);
    await waitFor(() => database.state.kind === 'connected', 'the database to be used again');
    expect(await feed.next(database)).toEqual([]);
    await server.query(INSERT);
    expect((await feed.next(database)).map(({ id }) => id)).toEqual(['2']);
  });

  test('gives each row once through a thousand random interleavings', async () => {
    const seed = Number(process.env['STEEP_FEED_SEED'] ?? Date.now() % 1_000_000_000);
    console.log(`feed: seed ${seed} (STEEP_FEED_SEED=${seed} repeats it)`);
    const below = randomBelow(seed);
    const clients = await open(5);
    let rows = 0;
    for (let round = 0; round < 1000; round += 1) {
      const isOpen = clients.map(() => false);
      // Some transactions are open before the feed begins, and its looks fall anywhere between the others.
      const before = below(3);
      const start = await highestId();
      const mine: string[] = [];
      let feed: AuditFeed | undefined;
      const startBegun = (): Promise<AuditFeed> => begunFeed();
      const already = new Set<string>();
      for (let step = 0; step < 8; step += 1) {
        if (step === before) {
          for (const id of await idsAfter(start)) already.add(id);
          feed = await startBegun();
        }
        const which = below(clients.length);
        const client = clients[which]!;
        const kind = below(10);
        if (kind < 4) {
          await client.unsafe(isOpen[which] ? INSERT : `BEGIN; ${INSERT}`);
          isOpen[which] = true;
        } else if (kind < 7 && isOpen[which]) {
          await client.unsafe(below(3) > 0 ? 'COMMIT' : 'ROLLBACK');
          isOpen[which] = false;
        } else if (feed) {
          now += below(1500);
          mine.push(...(await feed.next(database)).map(({ id }) => id));
        }
      }
      feed ??= await startBegun();
      for (const [which, client] of clients.entries())
        if (isOpen[which]) {
          await client.unsafe(below(3) > 0 ? 'COMMIT' : 'ROLLBACK');
          if (below(2) === 0) mine.push(...(await feed.next(database)).map(({ id }) => id));
        }
      mine.push(...(await drain(feed)));
      const expected = (await idsAfter(start)).filter((id) => !already.has(id));
      rows += expected.length;
      expect([seed, round, sorted(mine)]).toEqual([seed, round, expected]);
    }
    console.log(`feed: ${rows} rows`);
    expect(rows).toBeGreaterThan(1000);
  }, 120_000);
});

/** mulberry32 */
function randomBelow(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}
