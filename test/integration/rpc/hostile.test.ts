/** A peer that means harm: others stay served meanwhile, and afterwards nothing of it is left. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import http2 from 'node:http2';
import net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { waitFor } from '../../support/wait.ts';
import {
  Authority,
  connectJson,
  GrpcPeer,
  type Pems,
  post,
  rawSession,
  rawTls,
  TestNode,
  usageOf,
} from './support.ts';

let node: TestNode;
let pems: Pems;
let bystander: Bystander;
let before: { rss: number; fds: number };
/** How many of its calls the daemon ended; begun first of all, since that takes a minute. */
let unread: Promise<number>;

/** Another peer, from another address, that asks all the time. */
class Bystander {
  slowest = 0;
  calls = 0;
  readonly failures: string[] = [];
  private stopping = false;
  private readonly running: Promise<void>;

  constructor() {
    this.running = this.run();
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      const began = performance.now();
      try {
        const { status } = await connectJson(
          node.port,
          'HealthCheck',
          {},
          { pems: node.pems, from: '127.0.0.2' },
        );
        if (status !== 200) this.failures.push(String(status));
      } catch (error) {
        this.failures.push(String(error));
      }
      this.slowest = Math.max(this.slowest, performance.now() - began);
      this.calls += 1;
      await Bun.sleep(50);
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }
}

beforeAll(async () => {
  node = await TestNode.start('node-a');
  pems = await (await Authority.of(node)).node('node-b');
  await connectJson(node.port, 'HealthCheck', {}, { pems });
  before = usageOf(node.daemon);
  bystander = new Bystander();
  unread = neverRead();
});

afterAll(async () => {
  await bystander.stop();
  await node[Symbol.asyncDispose]();
});

/** Calls of a peer that allows no byte of an answer. */
async function neverRead(): Promise<number> {
  const socket = await rawTls(node.port, { pems, from: '127.0.0.10' });
  const session = http2.connect(`https://127.0.0.1:${node.port}`, {
    createConnection: () => socket,
    settings: { initialWindowSize: 0 },
  });
  for (const emitter of [session, socket]) emitter.setMaxListeners(0);
  const codes = Array.from({ length: 50 }, () => {
    const stream = session.request({ ':method': 'POST', ':path': CALL, 'content-type': 'application/json' });
    stream.on('error', () => {});
    stream.end('{}');
    return new Promise((resolve) => stream.once('close', () => resolve(stream.rstCode)));
  });
  const cancelled = (await Promise.all(codes)).filter((code) => code === http2.constants.NGHTTP2_CANCEL);
  session.destroy();
  return cancelled.length;
}

const HEADER = { DATA: 0, HEADERS: 1, RST: 3, SETTINGS: 4, PING: 6, CONTINUATION: 9 } as const;

function frame(kind: keyof typeof HEADER, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = HEADER[kind];
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A connection of HTTP/2 written by hand. */
async function byHand(from: string): Promise<TLSSocket> {
  const socket = await rawTls(node.port, { pems, from });
  socket.on('error', () => {});
  socket.resume();
  socket.write(
    Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame('SETTINGS', 0, 0, Buffer.alloc(0)),
    ]),
  );
  return socket;
}

/** Headers of a POST without index and Huffman. */
function headersOf(path: string): Buffer {
  const field = (name: string, value: string): Buffer =>
    Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);
  return Buffer.concat([
    field(':method', 'POST'),
    field(':scheme', 'https'),
    field(':authority', 'localhost'),
    field(':path', path),
    field('content-type', 'application/grpc'),
  ]);
}

const CALL = '/steep.repl.v1.Coordinator/HealthCheck';

function ended(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())));
}

describe('messages', () => {
  test('of 5 MiB are refused, and the connection goes on', async () => {
    using peer = new GrpcPeer(node, pems);
    const huge = { node_id: 'node-b', node_name: 'x'.repeat(5 * 1024 * 1024), host: 'h' };
    expect(await peer.status('RegisterNode', huge)).toStartWith('RESOURCE_EXHAUSTED');
    expect(await peer.status('HealthCheck')).toBe('OK');
  });

  test('that say they are 4 GiB long, or are no protobuf, are refused', async () => {
    const session = await rawSession(node.port, { pems });
    try {
      const claim = await post(
        session,
        'HealthCheck',
        'application/grpc',
        Buffer.from([0, 255, 255, 255, 255, 1]),
      );
      expect({ ...claim.headers, ...claim.trailers }['grpc-status']).not.toBe('0');
      for (let i = 0; i < 50; i++) {
        const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(64)));
        const length = Buffer.alloc(5);
        length.writeUInt32BE(noise.length + 1, 1);
        // A field of length-delimited type that is longer than the message.
        const body = Buffer.concat([length, Buffer.from([0x0a, 0xff]).subarray(0, 1), noise]);
        const { status, headers, trailers } = await post(session, 'RegisterNode', 'application/grpc', body);
        expect(status).toBe(200);
        expect({ ...headers, ...trailers }['grpc-status']).not.toBe('0');
      }
    } finally {
      session.destroy();
    }
    expect(node.daemon.running).toBe(true);
  });

  test('in JSON, nested as deep as a well, are refused', async () => {
    const session = await rawSession(node.port, { pems });
    try {
      const deep = `${'{"metadata":'.repeat(100_000)}1${'}'.repeat(100_000)}`;
      const { status } = await post(session, 'SyncNodeMetadata', 'application/json', deep);
      expect(status).toBeGreaterThanOrEqual(400);
    } finally {
      session.destroy();
    }
  });

  test('that are a bomb of gzip are refused', async () => {
    const session = await rawSession(node.port, { pems });
    try {
      const bomb = Bun.gzipSync(new Uint8Array(200 * 1024 * 1024));
      const { status } = await post(session, 'HealthCheck', 'application/proto', bomb, {
        'content-encoding': 'gzip',
      });
      expect(status).not.toBe(200);
    } finally {
      session.destroy();
    }
  });
});

describe('floods from one address', () => {
  test('of headers that never end lose their connection', async () => {
    const socket = await byHand('127.0.0.9');
    socket.write(frame('HEADERS', 0, 1, headersOf(CALL)));
    const junk = Buffer.concat(Array.from({ length: 100 }, (_, i) => Buffer.from([0, 2, 120, 48 + (i % 10), 100, ...Buffer.alloc(100, 97)]))); // prettier-ignore
    let sent = 0;
    while (!socket.destroyed && sent < 64 * 1024 * 1024) {
      if (!socket.write(frame('CONTINUATION', 0, 1, junk)))
        await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), ended(socket)]);
      sent += junk.length;
    }
    await ended(socket);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  test('of streams that are reset at once lose their connection, and run nothing in another’s name', async () => {
    const socket = await byHand('127.0.0.9');
    const headers = headersOf(CALL);
    let stream = 1;
    while (!socket.destroyed && stream < 400_000) {
      const frames: Buffer[] = [];
      for (let i = 0; i < 200; i++, stream += 2)
        frames.push(frame('HEADERS', 4, stream, headers), frame('RST', 0, stream, Buffer.from([0, 0, 0, 8])));
      if (!socket.write(Buffer.concat(frames)))
        await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), ended(socket)]);
    }
    await ended(socket);
    expect(node.daemon.running).toBe(true);
    // None of them still takes a place.
    const { status } = await connectJson(node.port, 'HealthCheck', {}, { pems, from: '127.0.0.9' });
    expect(status).toBe(200);
  });

  test('of a registration that is reset at once never register anybody else', async () => {
    const request = Buffer.concat([
      Buffer.from([0x0a, 6]),
      Buffer.from('node-v'),
      Buffer.from([0x1a, 1]),
      Buffer.from('h'),
    ]);
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]);
    const headers = headersOf('/steep.repl.v1.Coordinator/RegisterNode');
    for (let round = 0; round < 30; round++) {
      const socket = await byHand('127.0.0.8');
      for (let stream = 1; stream < 20; stream += 2)
        socket.write(
          Buffer.concat([
            frame('HEADERS', 4, stream, headers),
            frame('DATA', 1, stream, body),
            ...(round % 3 === 0 ? [] : [frame('RST', 0, stream, Buffer.from([0, 0, 0, 8]))]),
          ]),
        );
      if (round % 2 === 0) socket.destroy();
      else socket.end();
    }
    await Bun.sleep(500);
    expect(await node.nodes()).toEqual(['node-a healthy']);
  });

  test('of 1,000 half-open handshakes are cut, and end', async () => {
    const sockets = Array.from({ length: 1000 }, () => {
      const socket = net.connect({ host: '127.0.0.1', port: node.port, localAddress: '127.0.0.6' });
      socket.on('error', () => {});
      return socket;
    });
    await waitFor(() => usageOf(node.daemon).fds <= before.fds + 64 + 8, 'most to be cut', 10_000);
    await Promise.all(sockets.map(ended)); // the others within the limit of a handshake
  });

  test('of 2,000 idle connections are cut at 64', async () => {
    const open: TLSSocket[] = [];
    for (let i = 0; i < 20; i++) {
      const batch = await Promise.allSettled(
        Array.from({ length: 100 }, () => rawTls(node.port, { pems, from: '127.0.0.5' })),
      );
      for (const one of batch) if (one.status === 'fulfilled') open.push(one.value);
    }
    await Bun.sleep(500);
    expect(open.filter((socket) => !socket.destroyed).length).toBeLessThanOrEqual(64);
    for (const socket of open) socket.destroy();
    // And the places are free again.
    await waitFor(
      () => connectJson(node.port, 'HealthCheck', {}, { pems, from: '127.0.0.5' }).then(() => true, () => false), // prettier-ignore
      'a place',
    );
  });

  test('of calls that go on for ever are refused from the 257th on', async () => {
    const sessions = await Promise.all([1, 2].map(() => rawSession(node.port, { pems, from: '127.0.0.7' })));
    const statuses: unknown[] = [];
    for (const session of sessions)
      for (let call = 0; call < 130; call++) {
        const stream = session.request({
          ':method': 'POST',
          ':path': '/grpc.health.v1.Health/Watch',
          'content-type': 'application/grpc',
        });
        stream.on('error', () => {});
        stream.once('response', (headers) => statuses.push(headers[':status']));
        stream.end(Buffer.alloc(5));
      }
    await waitFor(() => statuses.length === 260, 'all to be answered or refused');
    expect(statuses.filter((one) => one === 200)).toHaveLength(256);
    expect(statuses.filter((one) => one === 503)).toHaveLength(4);
    using peer = new GrpcPeer(node, pems);
    expect(await peer.status('HealthCheck')).toBe('OK'); // from another address
    for (const session of sessions) session.destroy();
    // And the places are free again.
    await waitFor(
      () => connectJson(node.port, 'HealthCheck', {}, { pems, from: '127.0.0.7' }).then(({ status }) => status === 200, () => false), // prettier-ignore
      'a place',
    );
  });

  test('of requests sent drop by drop end within half a minute', async () => {
    const session = await rawSession(node.port, { pems, from: '127.0.0.4' });
    const streams = Array.from({ length: 200 }, () => {
      const stream = session.request({
        ':method': 'POST',
        ':path': CALL,
        'content-type': 'application/grpc',
      });
      stream.on('error', () => {});
      stream.resume();
      stream.write(Buffer.from([0, 0, 63, 255, 255, 1]));
      return stream;
    });
    await Promise.all(
      streams.map((one: http2.ClientHttp2Stream) => new Promise((resolve) => one.once('close', resolve))),
    );
    session.destroy();
  });
});

test('answers that nobody reads do not wait for ever', async () => {
  expect(await unread).toBe(50);
});

describe('meanwhile and afterwards', () => {
  test('another peer was served all the time', async () => {
    await bystander.stop();
    console.log(
      `another peer: ${bystander.calls} calls, the slowest took ${bystander.slowest.toFixed(0)} ms`,
    );
    expect(bystander.failures).toEqual([]); // none waited for 15 s
    expect(bystander.calls).toBeGreaterThan(50);
  });

  test('files and memory are given back', async () => {
    await waitFor(() => usageOf(node.daemon).fds <= before.fds + 3, 'the files to be closed');
    await waitFor(() => usageOf(node.daemon).rss < before.rss + 100, 'the memory to come back');
    console.log(`memory ${before.rss.toFixed(0)} → ${usageOf(node.daemon).rss.toFixed(0)} MB`);
  });

  test('nothing was written to the log but lines of the log', () => {
    expect(node.daemon.other).toEqual([]);
  });
});
