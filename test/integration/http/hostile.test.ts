/** Clients of the HTTP door that mean no good. Whatever they do, the daemon goes on answering others. */
import { freePort } from '../../support/ports.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import net from 'node:net';
import { waitFor } from '../../support/wait.ts';
import { DoorDaemon } from '../ipc/support.ts';
import { exchange, rawRequest } from './raw.ts';

const stack = new AsyncDisposableStack();
let daemon: DoorDaemon;
let port: number;
let descriptors: number;

beforeAll(async () => {
  port = await freePort();
  daemon = stack.use(
    await DoorDaemon.start({ config: { http: { enabled: true, bind: '127.0.0.1', port } } }),
  );
  await rawRequest(port, 'GET /live HTTP/1.0\r\n\r\n');
  descriptors = daemon.descriptors;
});

afterAll(() => stack.disposeAsync());

afterEach(async () => {
  expect((await rawRequest(port, 'GET /live HTTP/1.0\r\n\r\n')).body).toBe('{"alive":true}');
  await waitFor(() => daemon.descriptors <= descriptors + 3, 'the descriptors of gone clients to be closed');
  expect(daemon.log).not.toMatch(/"level":"error"/);
});

function connect(text = ''): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      if (text !== '') socket.write(text);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

async function statusOf(path: string, method = 'GET', headers = 'Host: x\r\n'): Promise<number> {
  const received = await exchange(
    port,
    `${method} ${path} HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`,
    2000,
  );
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(received)?.[1] ?? 0);
}

describe('a path', () => {
  test.each([
    '/',
    '//',
    '//health',
    '/health/',
    '/Health',
    '/healthx',
    '/health%00',
    '/%68ealth',
    '/health;x',
    '/health%3Fx',
  ])('that is none of ours, %p, is 404', async (path) => {
    expect(await statusOf(path)).toBe(404);
  });

  test.each([
    '/etc/passwd',
    '/../../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2fetc%2fpasswd',
    '/health/../../etc/passwd',
    '/__proto__',
    '/constructor',
    '/toString',
  ])('that hopes for more, %p, is 404 and tells nothing', async (path) => {
    const reply = await rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect([reply.status, Object.keys(JSON.parse(reply.body) as object)]).toEqual([404, ['error', 'paths']]);
    expect(reply.body).not.toContain('passwd');
  });

  test.each([
    '/heal\u0001th',
    '/heal th',
    '/health\u0000',
    `/${'a'.repeat(100_000)}`,
    'health',
    '*',
    'http://',
  ])('that is no path at all is refused or closed: %#', async (path) => {
    expect([0, 400, 404, 414, 431, 505]).toContain(await statusOf(path));
  });

  test('of a proxy’s request, or with a strange Host, is only the path', async () => {
    expect(await statusOf('http://elsewhere.example/live')).toBe(200);
    for (const host of ['', 'a/b', 'a?b', 'x/health?', '[::1]:80', 'ä', 'a'.repeat(5000)])
      expect([host, [200, 400].includes(await statusOf('/live', 'GET', `Host: ${host}\r\n`))]).toEqual([
        host,
        true,
      ]);
    expect(await statusOf('/nope', 'GET', 'Host: x/health?\r\n')).not.toBe(200);
  });
});

describe('a request', () => {
  test.each(['CONNECT', 'FOO', 'get', 'G\u0001T', 'PROPFIND', 'A'.repeat(10_000)])(
    'with a strange method is not answered as if it were GET: %#',
    async (method) => {
      expect([0, 400, 404, 405, 501, 505]).toContain(await statusOf('/live', method));
    },
  );

  test('with a head of 1 MiB is refused', async () => {
    expect([0, 400, 413, 431]).toContain(
      await statusOf('/live', 'GET', `Host: x\r\nX: ${'x'.repeat(1024 * 1024)}\r\n`),
    );
    const many = Array.from({ length: 5000 }, (_, index) => `X-${index}: y\r\n`).join('');
    expect([0, 400, 413, 431]).toContain(await statusOf('/live', 'GET', `Host: x\r\n${many}`));
  });

  test('with a body, small, large, endless or of a false length, does no harm', async () => {
    expect(await statusOf('/live', 'GET', 'Host: x\r\nContent-Length: 3\r\n')).toBeLessThan(500);
    for (const body of [
      'Content-Length: 100\r\n\r\nabc',
      `Content-Length: ${1024 * 1024}\r\n\r\n${'x'.repeat(1024 * 1024)}`,
      'Content-Length: -1\r\n\r\n',
      'Content-Length: 1e9\r\n\r\n',
      'Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef',
      'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
      'Transfer-Encoding: chunked\r\n\r\n5\r\nabc',
      'Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc',
    ])
      expect(await exchange(port, `POST /live HTTP/1.1\r\nHost: x\r\n${body}`, 300)).not.toStartWith(
        'HTTP/1.1 200',
      );
  });

  test('of garbage, TLS or nothing is closed or refused', async () => {
    for (const bytes of [
      Buffer.from([0x16, 0x03, 0x01, 0x00, 0xa5, 0x01, 0x00, 0x00, 0xa1, 0x03, 0x03]),
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 31) & 0xff)),
      Buffer.from('\r\n\r\n\r\n\r\n'),
      Buffer.from('GET /live\r\n\r\n'),
      Buffer.from('GET /live HTTP/9.9\r\n\r\n'),
    ])
      expect(await exchange(port, bytes, 300)).not.toStartWith('HTTP/1.1 200');
  });

  test('comes a thousand times over one connection at once, and is answered as often', async () => {
    const request = 'GET /live HTTP/1.1\r\nHost: x\r\n\r\n';
    const last = 'GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    const received = await exchange(port, request.repeat(1000) + last);
    expect(received.split('{"alive":true}')).toHaveLength(1001);
    expect(received.split('HTTP/1.1 200 OK\r\n')).toHaveLength(1001);
    expect(received).toContain('HTTP/1.1 404');
  });
});

describe('connections', () => {
  test('a thousand at once, each gets its answers', async () => {
    const sockets = await Promise.all(Array.from({ length: 1000 }, () => connect()));
    try {
      for (let round = 0; round < 2; round += 1) {
        const replies = sockets.map(
          (socket) =>
            new Promise<string>((resolve) => {
              socket.once('data', (chunk) => resolve(chunk.toString()));
              socket.write('GET /live HTTP/1.1\r\nHost: x\r\n\r\n');
            }),
        );
        expect(new Set((await Promise.all(replies)).map((reply) => reply.slice(0, 15)))).toEqual(
          new Set(['HTTP/1.1 200 OK']),
        );
      }
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  test('three hundred that send a byte at a time, or read nothing, keep nobody from being answered', async () => {
    const slow = await Promise.all(Array.from({ length: 200 }, () => connect('GET /live HT')));
    const deaf = await Promise.all(Array.from({ length: 100 }, () => connect()));
    for (const socket of deaf) {
      socket.pause();
      socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(200));
    }
    const drip = setInterval(() => {
      for (const socket of slow) socket.write('T');
    }, 1000);
    try {
      for (let count = 0; count < 20; count += 1) {
        expect((await rawRequest(port, 'GET /health HTTP/1.0\r\n\r\n')).status).toBe(503);
        await Bun.sleep(50);
      }
    } finally {
      clearInterval(drip);
      for (const socket of [...slow, ...deaf]) socket.destroy();
    }
  });

  test('five hundred that vanish in the middle leave nothing behind', async () => {
    for (let round = 0; round < 5; round += 1) {
      const sockets = await Promise.all(
        Array.from({ length: 100 }, () => connect('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /hea')),
      );
      for (const socket of sockets) socket.resetAndDestroy();
    }
  });
});

test('nonsense makes no new series of metrics', async () => {
  for (let count = 0; count < 50; count += 1) await statusOf(`/nope-${count}`);
  const { body } = await rawRequest(port, 'GET /metrics HTTP/1.0\r\n\r\n');
  const paths = new Set([...body.matchAll(/method="([^"]*)"/g)].map(([, path]) => path));
  for (const path of paths) expect(['/health', '/live', '/metrics', 'other', 'status.get']).toContain(path!);
});

describe('a port that is taken', () => {
  test('by another program ends the start with exit code 1, naming port and program', async () => {
    await using other = await listen();
    await using second = new DoorDaemon({
      config: { http: { enabled: true, bind: '127.0.0.1', port: other.port } },
    });
    expect(await second.process.exited).toBe(1);
    await waitFor(() => second.log.includes('has it'), 'the reason');
    expect(second.log).toMatch(
      new RegExp(`cannot listen on 127\\.0\\.0\\.1:${other.port}: .+ \\(pid ${process.pid}\\) has it`),
    );
  });

  test('by another daemon is not shared with it', async () => {
    for (const bind of ['127.0.0.1', '0.0.0.0']) {
      await using second = new DoorDaemon({ config: { http: { enabled: true, bind, port } } });
      expect([bind, await second.process.exited]).toEqual([bind, 1]);
      await waitFor(() => second.log.includes(`(pid ${daemon.pid}) has it`), 'the reason');
    }
  });
});

function listen(): Promise<AsyncDisposable & { port: number }> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port: taken } = server.address() as net.AddressInfo;
      resolve({
        port: taken,
        [Symbol.asyncDispose]: () => new Promise((done) => server.close(() => done())),
      });
    });
  });
}
