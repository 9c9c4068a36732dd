/** events.subscribe gives each entry of the audit trail once, whatever writers and the server do. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { ask, RawIpc } from '../../support/ipc-raw.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { DoorDaemon } from '../ipc/support.ts';

const stack = new AsyncDisposableStack();
let server: TestPostgres;
let daemon: DoorDaemon;

beforeAll(async () => {
  server = stack.use(await TestPostgres.withExtension());
  daemon = stack.use(await DoorDaemon.start({ server }));
  await listening();
});

afterAll(() => stack.disposeAsync());

// What it writes by itself, at the start and when PostgreSQL was long away, would come between a subscription and a look.
beforeEach(() => daemon.untilSettled(server));

/** The daemon connects, and listens a moment later: events are those from then on. */
async function listening(): Promise<void> {
  using client = await RawIpc.open(daemon.socket);
  await client.ask('events.subscribe');
  await waitFor(async () => {
    await write(`listening.${crypto.randomUUID()}`);
    await Bun.sleep(50);
    return client.lines.some((line) => 'event' in line);
  }, 'the first event');
}

async function write(key: string): Promise<void> {
  await server.query(`INSERT INTO steep_repl.coordinator_state (key, value) VALUES ('${key}', '1')`);
}

interface Subscriber {
  client: RawIpc;
  id: string;
}

async function subscribe(params?: unknown): Promise<Subscriber> {
  const client = stack.use(await RawIpc.open(daemon.socket));
  const { id, error } = await client.ask('events.subscribe', params);
  expect(error).toBeNull();
  return { client, id: id! };
}

function idsOf({ client, id }: Subscriber): number[] {
  return client.lines
    .filter((line) => line.id === id && 'event' in line)
    .map(({ event }) => Number(event.id));
}

async function highestId(): Promise<number> {
  const [row] = await server.query('SELECT max(id) AS id FROM steep_repl.audit_log');
  return Number(row!['id']);
}

async function idsAfter(id: number, where = 'true'): Promise<number[]> {
  const rows = await server.query(
    `SELECT id FROM steep_repl.audit_log WHERE id > ${id} AND ${where} ORDER BY id`,
  );
  return rows.map((row) => Number(row['id']));
}

function inOrder(ids: number[]): number[] {
  return ids.toSorted((a, b) => a - b);
}

/** The subscriber has every id of the table once, and nothing else. */
async function expectAll(subscriber: Subscriber, after: number, where?: string): Promise<number> {
  let expected: number[] = [];
  await waitFor(async () => {
    expected = await idsAfter(after, where);
    return idsOf(subscriber).length >= expected.length;
  }, 'every event');
  await Bun.sleep(200); // what should not come has had time to
  expect(inOrder(idsOf(subscriber))).toEqual(await idsAfter(after, where));
  return expected.length;
}

/** Writes until stopped, in transactions of every length, some of which are rolled back; survives the server. */
class Writers {
  committed = 0;
  private stopped = false;
  private readonly running: Promise<void>[];

  constructor(count: number) {
    this.running = Array.from({ length: count }, (_, index) => this.write(index));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.running);
  }

  private async write(index: number): Promise<void> {
    while (!this.stopped) {
      await using client = server.client({ connect_timeout: 2 });
      try {
        for (let count = 0; !this.stopped; count += 1) {
          const keys = Array.from(
            { length: 1 + (count % 3) },
            (_, key) => `('w${index}.${count}-${key}-${crypto.randomUUID()}', '1')`,
          );
          await client.unsafe(
            `BEGIN; INSERT INTO steep_repl.coordinator_state (key, value) VALUES ${keys.join(',')}`,
          );
          await Bun.sleep((count * (index + 3)) % 40);
          const end = count % 4 === 3 ? 'ROLLBACK' : 'COMMIT';
          await client.unsafe(end);
          if (end === 'COMMIT') this.committed += keys.length;
        }
      } catch {
        await Bun.sleep(50); // the server went away, and comes back
      }
    }
  }
}

describe('each entry comes once', () => {
  test('to every one of many subscribers, filtered or not, with writers that commit in any order and roll back', async () => {
    await using holder = server.client();
    const all = await Promise.all(Array.from({ length: 10 }, () => subscribe()));
    const some = await subscribe({ actions: ['node.updated', 'node.registered'] });
    const none = await subscribe({ actions: ['no.such'] });
    const emptyFilter = await subscribe({ actions: [] });
    const leaving = await subscribe();
    const start = await highestId();
    // Takes a low id, and is the last to commit.
    await holder.unsafe(
      `BEGIN; INSERT INTO steep_repl.coordinator_state (key, value) VALUES ('held.back', '1')`,
    );
    const writers = new Writers(6);
    await Bun.sleep(700);
    await server.query(`SELECT steep_repl.register_node('n1', 'n1', 'h', 1, 50, NULL, NULL)`);
    await server.query(`UPDATE steep_repl.nodes SET priority = 7 WHERE node_id = 'n1'`);
    await server.query(`UPDATE steep_repl.nodes SET last_seen = now() WHERE node_id = 'n1'`);
    leaving.client[Symbol.dispose]();
    await Bun.sleep(1500);
    await writers.stop();
    const before = await expectAll(all[0]!, start);
    await holder.unsafe('COMMIT');
    let count = 0;
    for (const subscriber of [...all, emptyFilter]) count = await expectAll(subscriber, start);
    console.log(`events: ${count} to each of ${all.length + 1} subscribers`);
    expect(count).toBeGreaterThan(writers.committed);
    expect(count).toBe(before + 1);
    expect(await expectAll(some, start, `action IN ('node.updated', 'node.registered')`)).toBe(2);
    expect(idsOf(none)).toEqual([]);
  });

  test('under two ids on one connection, if it subscribed twice', async () => {
    const first = await subscribe();
    const { id } = await first.client.ask('events.subscribe', { actions: ['state.updated'] });
    const start = await highestId();
    await write('twice.a');
    await expectAll(first, start);
    await expectAll({ client: first.client, id: id! }, start);
  });

  test('while an answer on the same connection is still under way', async () => {
    const subscriber = await subscribe();
    const start = await highestId();
    for (let count = 0; count < 50; count += 1) {
      subscriber.client.send('audit.query', { limit: 1000 });
      if (count % 10 === 0) await write(`meanwhile.${count}`);
    }
    await expectAll(subscriber, start);
  });

  test('across a server that is killed and started again, with writers going on', async () => {
    const subscriber = await subscribe();
    const start = await highestId();
    const writers = new Writers(4);
    await Bun.sleep(500);
    for (let kill = 0; kill < 2; kill += 1) {
      await server.signal('SIGKILL');
      await daemon.untilConnected(false);
      await Bun.sleep(300);
      await startAgain();
      await daemon.untilConnected();
      await Bun.sleep(500);
    }
    await writers.stop();
    const count = await expectAll(subscriber, start);
    const kinds = await server.query(`SELECT DISTINCT action FROM steep_repl.audit_log WHERE id > ${start}`);
    expect(kinds.map((row) => String(row['action']))).toContain('postgresql.restored');
    console.log(`events across two kills of the server: ${count}`);
  });

  test('across a server that hangs for longer than it takes to notice', async () => {
    const subscriber = await subscribe();
    const start = await highestId();
    const writers = new Writers(4);
    await Bun.sleep(300);
    server.freeze('SIGSTOP');
    await daemon.untilConnected(false);
    server.freeze('SIGCONT');
    await daemon.untilConnected();
    await Bun.sleep(500);
    await writers.stop();
    await expectAll(subscriber, start);
  });

  test('when only the connection that listens, or those that read, are ended', async () => {
    const subscriber = await subscribe();
    const start = await highestId();
    const writers = new Writers(3);
    for (let round = 0; round < 6; round += 1) {
      await server.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'steep-repl/node-a' AND ${round % 2 ? `query LIKE 'LISTEN%'` : `query LIKE '%audit_log%'`}`,
      );
      await Bun.sleep(250);
    }
    await writers.stop();
    await daemon.untilConnected();
    await expectAll(subscriber, start);
  });
});

test('what is written while nobody listens comes when the connection that listens is back', async () => {
  const subscriber = await subscribe();
  const start = await highestId();
  for (let round = 0; round < 5; round += 1) {
    // Nothing is written after it that could wake the daemon.
    await server.query(
      `SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
        WHERE application_name = 'steep-repl/node-a' AND query LIKE 'LISTEN%';
       INSERT INTO steep_repl.coordinator_state (key, value) VALUES ('unheard.${round}', '1')`,
    );
    await expectAll(subscriber, start);
  }
});

test('what could not be read comes when it can be, without another notification', async () => {
  await using impatient = await TestPostgres.withExtension();
  await using other = await DoorDaemon.start({
    server: impatient,
    config: { postgresql: { host: impatient.base, user: 'postgres', statement_timeout: '1s' } },
  });
  using client = await RawIpc.open(other.socket);
  await client.ask('events.subscribe', { actions: ['state.updated'] });
  await waitFor(async () => {
    await impatient.query(
      `INSERT INTO steep_repl.coordinator_state (key, value) VALUES ('k.${crypto.randomUUID()}', '1')`,
    );
    await Bun.sleep(50);
    return client.lines.some((line) => 'event' in line);
  }, 'the first event');
  await using writer = impatient.client();
  await writer.unsafe(
    `BEGIN; LOCK TABLE steep_repl.audit_log IN ACCESS EXCLUSIVE MODE;
     ALTER TABLE steep_repl.audit_log DISABLE TRIGGER USER;
     INSERT INTO steep_repl.audit_log (action, actor, target_id) VALUES ('state.updated', 'x', 'silent')`,
  );
  await impatient.query(`SELECT pg_notify('steep_repl', '{"table":"audit_log"}')`);
  await waitFor(() => other.log.includes('reading the audit trail failed'), 'a reading to time out');
  await writer.unsafe('COMMIT');
  await client.find((line) => line.event?.target_id === 'silent', 'the silent entry');
});

test('subscribers that left are forgotten: a hundred cost as much as none', async () => {
  const before = daemon.descriptors;
  for (let count = 0; count < 100; count += 1) {
    using client = await RawIpc.open(daemon.socket);
    await client.ask('events.subscribe');
  }
  await waitFor(() => daemon.descriptors <= before + 4, 'the descriptors to be closed');
  await write('after.all');
  expect((await ask(daemon.socket, 'health.check')).error).toBeNull();
});

/** Killed alone, the postmaster leaves backends that still hold the shared memory for a moment. */
async function startAgain(): Promise<void> {
  await waitFor(async () => {
    try {
      await server.start();
      return true;
    } catch {
      return false;
    }
  }, 'the server to start again');
}
