import { TestPostgres } from '../../support/postgres.ts';
import { freePort } from '../../support/ports.ts';
import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { RawIpc } from '../../support/ipc-raw.ts';
import { waitFor } from '../../support/wait.ts';
import { DoorDaemon } from './support.ts';

const LIMIT_MS = 10_000;

function connect(port: number, text: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.write(text);
      resolve(socket);
    });
    socket.on('error', reject);
  });
}

describe('a stop ends in time, and cleanly, with 64 IPC clients and HTTP clients of every kind', () => {
  test.each([
    ['while PostgreSQL is well', false],
    ['while PostgreSQL hangs', true],
  ])('%s', async (_name, hangs) => {
    await using server = await TestPostgres.withExtension();
    const port = await freePort();
    await using daemon = await DoorDaemon.start({
      server,
      config: { http: { enabled: true, bind: '127.0.0.1', port } },
    });
    const clients = await Promise.all(Array.from({ length: 64 }, () => RawIpc.open(daemon.socket)));
    for (const [index, client] of clients.entries()) {
      if (index % 4 === 0) await client.ask('events.subscribe');
      if (index % 4 === 1) client.write('{"id":"half');
      if (index % 4 === 2) {
        client.socket.pause();
        for (let count = 0; count < 2000; count += 1) client.send('status.get');
      }
    }
    const kept = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n';
    const texts = Array.from(
      { length: 100 },
      (_, index) =>
        [kept, kept.slice(0, 20), '', `POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx`][
          index % 4
        ]!,
    );
    const sockets = await Promise.all(texts.map((text) => connect(port, text)));
    for (const socket of sockets) socket.on('error', () => {});
    const deaf = await connect(port, kept.repeat(5000));
    deaf.on('error', () => {});
    deaf.pause();
    await Bun.sleep(300);
    if (hangs) {
      server.freeze('SIGSTOP');
      for (const client of clients.filter((_, index) => index % 4 === 3))
        for (let count = 0; count < 20; count += 1) client.send(count % 2 ? 'audit.query' : 'nodes.list');
    }
    const began = performance.now();
    const code = await daemon.stop();
    const took = performance.now() - began;
    console.log(`stop ${_name}: ${took.toFixed(0)} ms`);
    expect([code, daemon.log.includes('"msg":"stopped"')]).toEqual([0, true]);
    expect(took).toBeLessThan(LIMIT_MS);
    await waitFor(
      () => clients.every((client, index) => index % 4 === 2 || client.closed),
      'the clients to be let go',
    );
    for (const client of clients) client[Symbol.dispose]();
    for (const socket of [...sockets, deaf]) socket.destroy();
    if (hangs) server.freeze('SIGCONT');
  });
});

test('what was asked before a stop is answered, a long answer whole, and then the connection ends', async () => {
  await using server = await TestPostgres.withExtension();
  await server.query(
    `INSERT INTO steep_repl.coordinator_state (key, value)
     SELECT 'big.' || g, to_jsonb(repeat(md5(g::text), 1000)) FROM generate_series(1, 60) g`,
  );
  await using daemon = await DoorDaemon.start({ server });
  using client = await RawIpc.open(daemon.socket);
  await client.ask('status.get');
  await using locker = server.client();
  await locker.unsafe('BEGIN; LOCK TABLE steep_repl.audit_log IN ACCESS EXCLUSIVE MODE');
  client.send('audit.query', { limit: 1000 }, 'long');
  await Bun.sleep(300);
  const stopped = daemon.stop();
  await waitFor(() => daemon.log.includes('"msg":"stopping"'), 'the stop to begin');
  await locker.unsafe('ROLLBACK');
  expect(
    (await client.find(({ id }) => id === 'long', 'the long answer')).result.entries.length,
  ).toBeGreaterThan(60);
  await client.untilClosed();
  expect(await stopped).toBe(0);
  expect(existsSync(daemon.socket)).toBe(false);
});
