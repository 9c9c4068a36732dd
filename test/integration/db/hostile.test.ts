/** Ports that are no PostgreSQL, and connections that are cut anywhere. */
import { freePort } from '../../support/ports.ts';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import net from 'node:net';
import { Session } from '../../../src/db/session.ts';
import type { Target } from '../../../src/db/target.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { FakeServer, ms, targetFor, Watched } from './support.ts';

let server: TestPostgres;
beforeAll(async () => {
  const port = await freePort();
  server = await TestPostgres.withExtension({ port, listen_addresses: '127.0.0.1' });
  await server.query(`set scram_iterations = 4096; create role app superuser login password 'secret-1'`);
  server.writeHba(['local all all trust', 'host all app all scram-sha-256', 'host all all all trust']);
  await server.query('select pg_reload_conf()');
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

function targetOf(fake: FakeServer, changes: Partial<Target> = {}): Target {
  return targetFor(server, {
    host: '127.0.0.1',
    port: fake.port,
    sslmode: 'disable',
    connectTimeout: 300,
    ...changes,
  });
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
function message(type: string, body: Buffer | string = ''): Buffer {
  const content = Buffer.from(body);
  return Buffer.concat([Buffer.from(type), int32(content.length + 4), content]);
}

const ok = message('R', int32(0));
const GARBAGE: Record<string, Buffer | string> = {
  'a web server': 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
  'an SSH server': 'SSH-2.0-OpenSSH_9.2\r\n',
  'a mail server': '220 mail.example.org ESMTP\r\n',
  MySQL: Buffer.from('4a0000000a382e302e33340008000000', 'hex'),
  'MySQL with an unlucky length': Buffer.from('520000000a382e302e33340008000000', 'hex'),
  zeros: Buffer.alloc(4096),
  ones: Buffer.alloc(4096, 0xff),
  'an authentication without a kind': message('R'),
  'an authentication of an unknown kind': message('R', int32(99)),
  'SCRAM without salt and rounds': Buffer.concat([
    message('R', Buffer.concat([int32(10), Buffer.from('SCRAM-SHA-256\0\0')])),
    message('R', Buffer.concat([int32(11), Buffer.from('nonsense')])),
  ]),
  'rows that nobody asked for': Buffer.concat([
    ok,
    message('D', Buffer.from([0, 1, 0, 0, 0, 1, 65])),
    message('C', 'SELECT 1\0'),
  ]),
  'an error without fields': message('E', '\0'),
  'an error cut short': message('E', 'SFATAL'),
  'a copy': Buffer.concat([ok, message('G', Buffer.from([0, 0, 0])), message('d', 'x'), message('W')]),
  'a negative length': Buffer.from('52ffffffff00000000', 'hex'),
  'a length of zero': Buffer.from('5200000000', 'hex'),
  'a length of a gigabyte': Buffer.concat([Buffer.from('S'), int32(1 << 30), Buffer.alloc(1000)]),
};

describe('a port', () => {
  test('that closes at once is unreachable, told once', async () => {
    await using fake = await FakeServer.listen((socket) => socket.destroy());
    for (const sslmode of ['disable', 'prefer', 'require'] as const) {
      await using watched = new Watched(targetOf(fake, { sslmode }));
      await watched.until('unreachable');
      await Bun.sleep(600);
      expect(watched.history).toEqual(['unreachable']);
      expect(watched.message).toBe('the server closed the connection');
    }
    expect(fake.accepted).toBeGreaterThan(6);
    await waitFor(() => fake.connections.size === 0, 'what was given up to be closed');
  });

  test('that never answers is given up after connect_timeout', async () => {
    await using fake = await FakeServer.listen(() => {});
    for (const sslmode of ['disable', 'prefer', 'verify-full'] as const) {
      await using watched = new Watched(targetOf(fake, { sslmode, sslrootcert: 'system' }));
      const seen = await watched.until('unreachable');
      console.log(`a port that never answers (sslmode ${sslmode}): given up after ${ms(seen)}`);
      expect(watched.message).toBe('PostgreSQL did not answer within 300 ms');
    }
    await waitFor(() => fake.connections.size === 0, 'what was given up to be closed');
  });

  test('where nobody listens is unreachable', async () => {
    await using watched = new Watched(targetFor(server, { host: '127.0.0.1', port: await freePort() }));
    await watched.until('unreachable');
    expect(watched.message).toBe('connection refused');
    await using named = new Watched(targetFor(server, { host: 'no-such-host.invalid' }));
    await named.until('unreachable');
    expect(named.message).toMatch(/^(unknown host|the host name cannot be looked up now)$/);
  });

  for (const [what, bytes] of Object.entries(GARBAGE))
    test(`that talks like ${what} is no PostgreSQL, and no defect of ours`, async () => {
      await using hangs = await FakeServer.listen((socket) => socket.write(bytes));
      await using ends = await FakeServer.listen((socket) => socket.end(bytes));
      await using waits = await FakeServer.listen((socket) => socket.once('data', () => socket.write(bytes)));
      for (const fake of [hangs, ends, waits])
        for (const sslmode of ['disable', 'prefer'] as const) {
          const error = await Session.open(
            targetOf(fake, { sslmode, password: 'x', connectTimeout: 100 }),
          ).then(
            async (session) => {
              await session.close();
              return undefined;
            },
            (thrown: unknown) => thrown,
          );
          expect(error).toBeInstanceOf(Error);
        }
    });
});

/** Passes on what the real server sends, up to a number of bytes; then does what it is told to the client. */
async function cutAfter(limit: number, cut: (client: net.Socket) => void): Promise<FakeServer> {
  return await FakeServer.listen((client) => {
    const upstream = net.connect(server.port, '127.0.0.1');
    upstream.on('error', () => client.destroy());
    client.on('close', () => upstream.destroy());
    client.on('data', (chunk) => upstream.write(chunk));
    let passed = 0;
    upstream.on('data', (chunk: Buffer) => {
      const rest = limit - passed;
      passed += chunk.length;
      if (rest > 0) client.write(chunk.subarray(0, rest));
      if (passed >= limit) {
        upstream.removeAllListeners('data');
        upstream.pause();
        cut(client);
      }
    });
  });
}

describe('a connection', () => {
  const CUTS: Record<string, (client: net.Socket) => void> = {
    closed: (client) => client.end(),
    reset: (client) => client.resetAndDestroy(),
    'left hanging': () => {},
  };

  for (const [how, cut] of Object.entries(CUTS))
    test(`that is ${how} after any number of bytes ends the attempt, and nothing else`, async () => {
      let failures = 0;
      let successes = 0;
      const tryOne = async (bytes: number, limit: number): Promise<void> => {
        await using fake = await cutAfter(bytes, cut);
        const target = targetOf(fake, { user: 'app', password: 'secret-1', connectTimeout: limit });
        const began = performance.now();
        try {
          const session = await Session.open(target);
          await session
            .query((sql) => sql`select ${'x'.repeat(300)}::text as x`, limit)
            .finally(() => session.destroy());
          successes += 1;
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          failures += 1;
        }
        expect(performance.now() - began).toBeLessThan(limit + 30_000);
      };
      // The whole conversation is about 1,100 bytes: authentication, parameters, two statements.
      const step = how === 'left hanging' ? 13 : 7;
      const offsets = Array.from({ length: Math.ceil(1300 / step) }, (_, i) => 1 + i * step);
      const limit = how === 'left hanging' ? 150 : 2000;
      for (let i = 0; i < offsets.length; i += 10)
        await Promise.all(offsets.slice(i, i + 10).map((bytes) => tryOne(bytes, limit)));
      expect(failures).toBeGreaterThan(50);
      // On a busy machine none may have come so far in time.
      successes = 0;
      await tryOne(1_000_000, 30_000);
      expect(successes).toBe(1);
    });

  test('that is cut again and again while the database is in use is made again each time', async () => {
    const clients: net.Socket[] = [];
    await using fake = await FakeServer.listen((client) => {
      clients.push(client);
      const upstream = net.connect(server.port, '127.0.0.1');
      upstream.on('error', () => client.destroy());
      client.on('close', () => upstream.destroy());
      client.pipe(upstream);
      upstream.pipe(client);
    });
    await using watched = new Watched(targetOf(fake, { connectTimeout: 2000, sslmode: 'prefer' }));
    for (let round = 0; round < 8; round++) {
      await watched.until('connected');
      const queries = Array.from({ length: 5 }, () =>
        watched.database.query((sql) => sql`select pg_sleep(0.2)`).catch((error: unknown) => error),
      );
      await Bun.sleep(15 * round);
      const dying = clients.splice(0);
      for (const client of dying)
        if (round % 2 === 0) client.resetAndDestroy();
        else client.destroy();
      await watched.untilAway();
      for (const error of await Promise.all(queries)) expect(error).toMatchObject({ code: 'NOT_CONNECTED' });
    }
    await watched.until('connected');
  });
});
