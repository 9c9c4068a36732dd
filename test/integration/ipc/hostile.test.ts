/** Clients that mean no good, or do not know better. Whatever they do, the daemon goes on answering others. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { ask, RawIpc } from '../../support/ipc-raw.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { Fuzzer } from './fuzzer.ts';
import { DoorDaemon } from './support.ts';

const LIMIT = 1024 * 1024;
const CONNECTIONS = 64;

const stack = new AsyncDisposableStack();
let server: TestPostgres;
let daemon: DoorDaemon;
let descriptors: number;

beforeAll(async () => {
  server = stack.use(await TestPostgres.withExtension());
  daemon = stack.use(await DoorDaemon.start({ server }));
  await ask(daemon.socket, 'audit.query');
  await Bun.sleep(200);
  descriptors = daemon.descriptors;
});

afterAll(() => stack.disposeAsync());

afterEach(async () => {
  await waitFor(answersOthers, 'the daemon to answer others');
  // The pool of PostgreSQL may have grown to its four sessions meanwhile.
  await waitFor(() => daemon.descriptors <= descriptors + 4, 'the descriptors of gone clients to be closed');
  expect(daemon.log).not.toContain('"msg":"a request failed"');
});

/** Asks for what a test below makes: 20 MiB in one answer. */
const BIG = { limit: 650, action_filter: ['state.updated'] };

/** The daemon may see later than we do that a client is gone: when it has done what that one asked. */
async function othersToBeGone(): Promise<void> {
  await waitFor(async () => {
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, open));
    for (const client of clients) client.send('health.check');
    await waitFor(() => clients.every(({ lines }) => lines.length > 0), 'an answer to each');
    for (const client of clients) client[Symbol.dispose]();
    await Bun.sleep(50);
    return clients.every(({ lines }) => lines[0]!.error === null);
  }, 'all places to be free');
}

async function answersOthers(): Promise<boolean> {
  try {
    return (await ask(daemon.socket, 'status.get')).result.state === 'running';
  } catch {
    return false; // clients that just went may still hold all the places
  }
}

function open(): Promise<RawIpc> {
  return RawIpc.open(daemon.socket);
}

/** A request for the state that takes exactly so many bytes without its line feed. */
function requestOf(bytes: number, id: string): string {
  const frame = JSON.stringify({ id, method: 'status.get', params: { fill: '' } });
  return frame.replace('"fill":""', `"fill":"${'x'.repeat(bytes - frame.length)}"`);
}

describe('a line', () => {
  test.each(['\n', '\r\n'])('of exactly 1 MiB is answered, however it ends: %p', async (end) => {
    using client = await open();
    client.write(requestOf(LIMIT, 'big') + end);
    expect((await client.find(() => true, 'an answer')).id).toBe('big');
    expect((await client.ask('status.get')).error).toBeNull();
  });

  test('of 1 MiB and one byte is refused, and the connection closed', async () => {
    using client = await open();
    client.write(`${requestOf(LIMIT + 1, 'big')}\n`);
    await client.untilClosed();
    expect(client.lines).toEqual([
      {
        id: null,
        result: null,
        error: { code: 'INVALID_REQUEST', message: 'a line is longer than 1048576 bytes' },
      },
    ]);
  });

  test('that never ends is refused while it still comes, and its client told', async () => {
    using client = await open();
    const flood = setInterval(() => client.write(Buffer.alloc(256 * 1024, 'x')), 1);
    await client.find(() => true, 'the refusal').finally(() => clearInterval(flood));
    expect(client.lines[0]!.error!.code).toBe('INVALID_REQUEST');
    await client.untilClosed();
  });

  test('of binary garbage is refused, and the connection stays', async () => {
    using client = await open();
    const garbage = Buffer.from(
      Array.from({ length: 4096 }, (_, index) => (index * 7 + (index >> 3)) & 0xff),
    );
    client.write(Buffer.concat([garbage, Buffer.from('\n')]));
    expect((await client.ask('status.get')).result.state).toBe('running');
    const lines = client.lines.filter(({ id }) => id === null);
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.every(({ error }) => error?.code === 'INVALID_REQUEST')).toBe(true);
  });

  test('of a hundred thousand brackets, or of deep params, does no harm', async () => {
    using client = await open();
    const deep = '['.repeat(100_000);
    client.write(`${deep}\n`);
    client.write(`${deep}${']'.repeat(100_000)}\n`);
    client.write(`{"id":"1","method":"nodes.get","params":{"node_id":${deep}${']'.repeat(100_000)}}}\n`);
    client.write(
      `{"id":"2","method":"status.get","params":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}\n`,
    );
    await client.find(({ id }) => id === '2', 'the last answer');
    expect(client.lines.map(({ id, error }) => [id, error?.code])).toEqual([
      [null, 'INVALID_REQUEST'],
      [null, 'INVALID_REQUEST'],
      ['1', 'INVALID_REQUEST'],
      ['2', undefined],
    ]);
  });

  test('with __proto__ and constructor changes nothing for the next one', async () => {
    using client = await open();
    for (const name of ['__proto__', 'constructor', 'prototype'])
      for (const line of [
        `{"id":"${name}","method":"${name}"}`,
        `{"id":"${name}","method":"nodes.list","params":{"${name}":{"status_filter":["offline"],"polluted":1}}}`,
        `{"${name}":{"id":"x","method":"status.get"}}`,
        `{"id":"${name}","method":"audit.query","params":{"limit":1,"${name}":{"limit":"x"}}}`,
      ])
        client.write(`${line}\n`);
    const { result } = await client.ask('nodes.list');
    expect(result.nodes).toHaveLength(1);
    expect(JSON.stringify(client.lines)).not.toContain('polluted');
  });
});

describe('requests', () => {
  test('with one id for all are all answered under it', async () => {
    using client = await open();
    for (let count = 0; count < 20; count += 1) client.send('status.get', {}, 'same');
    await waitFor(() => client.lines.length === 20, 'twenty answers');
    expect(client.lines.every(({ id, error }) => id === 'same' && error === null)).toBe(true);
  });

  test.each([
    ['status.get', 20_000],
    ['nodes.list', 10_000],
    ['audit.query', 2000],
  ])(
    'for %s are answered when %d come at once, each one time, although answers are read late',
    async (method, count) => {
      using client = await open();
      client.socket.pause();
      const text = Array.from({ length: count }, (_, id) => `{"id":"${id}","method":"${method}"}\n`).join('');
      client.write(text);
      await Bun.sleep(300);
      client.socket.resume();
      await waitFor(() => client.lines.length >= count || client.closed, 'all answers');
      expect(new Set(client.lines.map(({ id }) => id)).size).toBe(count);
      expect(client.lines.filter(({ error }) => error !== null)).toEqual([]);
      expect(client.lines).toHaveLength(count);
    },
  );

  test('of a client that half-closes are answered before the daemon closes too', async () => {
    using client = await open();
    for (let count = 0; count < 200; count += 1) client.send('audit.query', { limit: 1 });
    client.send('events.subscribe');
    client.socket.end();
    await client.untilClosed();
    expect(client.lines).toHaveLength(201);
  });

  test('of a client that is gone before its answers harm nobody', async () => {
    for (let count = 0; count < 50; count += 1) {
      const client = await open();
      for (let more = 0; more < 40; more += 1) client.send('audit.query');
      client.send('events.subscribe');
      await Bun.sleep(count % 4);
      client[Symbol.dispose]();
    }
  });

  test('of others are answered at once while forty clients send as much as the daemon takes', async () => {
    // In a process of its own, which does nothing but write and read.
    const script = `
      const net = require('node:net');
      const text = Buffer.from('x\\n{"id":"1","method":"status.get"}\\n'.repeat(500));
      for (let count = 0; count < 40; count += 1) {
        const socket = net.connect(process.argv[1]);
        const send = () => { while (socket.write(text)); };
        socket.on('drain', send).on('connect', send).on('data', () => {}).on('error', () => {});
      }`;
    const noise = Bun.spawn([process.execPath, '-e', script, daemon.socket], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    try {
      using other = await open();
      await waitFor(async () => (await other.ask('status.get')).error === null, 'a place');
      await Bun.sleep(500);
      const times: number[] = [];
      for (let count = 0; count < 10; count += 1) {
        const began = performance.now();
        expect((await other.ask('health.check')).error).toBeNull();
        times.push(performance.now() - began);
        await Bun.sleep(50);
      }
      console.log(
        `with forty noisy clients another is answered within ${Math.max(...times).toFixed(0)} ms (of 10)`,
      );
      // It took seconds each when a client had all that it sent in one go answered in one go.
      expect(times.reduce((sum, time) => sum + time, 0)).toBeLessThan(15_000);
    } finally {
      noise.kill('SIGKILL');
      await noise.exited;
    }
  });
});

test('a fuzzer of 100,000 messages gets an answer to each, and leaves nothing behind', async () => {
  const seed = Number(process.env['STEEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
  const before = daemon.memory;
  const began = performance.now();
  const fuzzer = new Fuzzer(seed);
  let messages = 0;
  let most = before;
  console.log(`fuzzer: seed ${seed} (STEEP_FUZZ_SEED=${seed} repeats it)`);
  // Few at a time: whom a busy machine keeps from reading for ten seconds is dropped.
  for (let round = 0; round < 40; round += 1) {
    const clients = await Promise.all(Array.from({ length: 5 }, open));
    const expected = clients.map((client) => {
      const lines = Array.from({ length: 500 }, () => fuzzer.line());
      client.write(Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')])));
      messages += lines.length;
      return lines.filter((line) => line.toString('utf8').trim() !== '').length;
    });
    const answers = (client: RawIpc): number => client.lines.filter((line) => !('event' in line)).length;
    await waitFor(
      () => clients.every((client, index) => client.closed || answers(client) >= expected[index]!),
      `every line of round ${round} (seed ${seed}) to be answered`,
      60_000,
    );
    expect([seed, clients.map(answers)]).toEqual([seed, expected]);
    expect(clients.filter(({ closed }) => closed)).toEqual([]);
    expect(await answersOthers()).toBe(true);
    most = Math.max(most, daemon.memory);
    for (const client of clients) client[Symbol.dispose]();
  }
  const took = (performance.now() - began) / 1000;
  await waitFor(() => daemon.memory < before + 100, 'memory to return');
  console.log(
    `fuzzer: ${messages} messages in ${took.toFixed(1)} s; memory ${before.toFixed(0)} MiB before, ${most.toFixed(0)} at most, ${daemon.memory.toFixed(0)} after`,
  );
  expect(messages).toBeGreaterThanOrEqual(100_000);
}, 180_000);

test('an answer of 20 MiB arrives whole, and so do four of them at once', async () => {
  await server.query(
    `INSERT INTO steep_repl.coordinator_state (key, value)
     SELECT 'big.' || g, to_jsonb(repeat(md5(g::text), 1000)) FROM generate_series(1, 650) g`,
  );
  using client = await open();
  const { result } = await client.ask('audit.query', BIG);
  expect(client.bytes).toBeGreaterThan(20 * 1024 * 1024);
  expect(result.entries).toHaveLength(650);
  for (let count = 0; count < 4; count += 1) client.send('audit.query', BIG);
  await waitFor(() => client.closed || client.lines.length === 5, 'four more');
  expect(client.lines.map(({ result: { entries } }) => entries.length)).toEqual([650, 650, 650, 650, 650]);
});

test('streams are 32 at most on one connection, whose other requests go on', async () => {
  using client = await open();
  for (let count = 0; count < 33; count += 1) client.send('events.subscribe');
  await waitFor(() => client.lines.length >= 33, 'an answer to each');
  const codes = client.lines.map(({ error }) => error?.code);
  expect(codes.filter((code) => code === undefined)).toHaveLength(32);
  expect(codes.filter((code) => code === 'CONFLICT')).toHaveLength(1);
  expect((await client.ask('status.get')).error).toBeNull();
});

describe('connections', () => {
  test('are 64 at most: the next is told so, and has a place when another leaves', async () => {
    await othersToBeGone();
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, open));
    try {
      for (const client of clients) expect((await client.ask('status.get')).error).toBeNull();
      using refused = await open();
      await refused.untilClosed();
      expect(refused.lines).toEqual([
        {
          id: null,
          result: null,
          error: { code: 'CONFLICT', message: 'there are 64 connections already, which is the limit' },
        },
      ]);
      clients.pop()![Symbol.dispose]();
      await waitFor(async () => {
        using next = await open();
        next.send('status.get');
        return (await next.find(() => true, 'an answer')).error === null;
      }, 'a place to be free');
      expect((await clients[0]!.ask('status.get')).error).toBeNull();
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });

  test('beyond the limit are closed although they go on sending, and cost nothing afterwards', async () => {
    await othersToBeGone();
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, open));
    await Promise.all(clients.map((client) => client.ask('status.get')));
    const refused = await Promise.all(Array.from({ length: 200 }, open));
    const noise = setInterval(() => {
      for (const client of refused) client.write('x');
    }, 20);
    try {
      await waitFor(() => refused.every(({ closed }) => closed), 'all to be closed');
      expect(refused.every(({ lines }) => lines.length === 1)).toBe(true);
    } finally {
      clearInterval(noise);
      for (const client of [...clients, ...refused]) client[Symbol.dispose]();
    }
  });

  // Eleven seconds once, for four kinds of clients side by side.
  test('are closed when a line stays half or nothing is read, but not for slowness, their own or the daemon’s', async () => {
    using half = await open();
    half.write('{"id":"1","meth');
    using deaf = await open();
    deaf.socket.pause();
    for (let count = 0; count < 20_000; count += 1) deaf.send('status.get');
    using slow = await open();
    slow.socket.pause();
    slow.send('audit.query', BIG);
    const stutter = (): unknown => slow.socket.pause();
    slow.socket.on('data', stutter);
    const reading = setInterval(() => slow.socket.resume(), 500);
    await using locker = server.client();
    using patient = await open();
    await waitFor(() => slow.bytes > 0, 'the slow client to begin');
    await locker.unsafe('BEGIN; LOCK TABLE steep_repl.audit_log IN ACCESS EXCLUSIVE MODE');
    for (let count = 0; count < 40; count += 1) patient.send('audit.query', { limit: 1 });
    patient.write('{"id":"last","method"');
    const began = performance.now();
    await half.untilClosed();
    const closedAfter = performance.now() - began;
    expect(closedAfter).toBeGreaterThan(8000);
    expect(half.lines[0]!.error).toEqual({
      code: 'INVALID_REQUEST',
      message: 'a line was begun and not finished',
    });
    await waitFor(() => daemon.log.includes('"reason":"it does not read"'), 'the deaf client to be dropped');
    await Bun.sleep(Math.max(0, 11_000 - (performance.now() - began)));
    await locker.unsafe('ROLLBACK');
    patient.write(':"status.get"}\n');
    clearInterval(reading);
    expect(slow.lines).toEqual([]); // it is still in the middle of its answer
    slow.socket.off('data', stutter);
    slow.socket.resume();
    await slow.find(() => true, 'the long answer of the slow client');
    await patient.find(({ id }) => id === 'last', 'the last answer');
    await waitFor(() => patient.lines.length === 41, 'all answers of the patient client');
    expect(patient.lines.filter(({ error }) => error !== null)).toEqual([]);
  });
});
