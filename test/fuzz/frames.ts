/** Below the messages: records of TLS before there is a session, and frames of HTTP/2 within one. */
import net from 'node:net';
import { Authority, connectJson, type Pems, rawTls, TestNode, usageOf } from '../integration/rpc/support.ts';
import type { Random } from '../simulation/random.ts';
import { waitFor } from '../support/wait.ts';
import { message, METHODS } from './messages.ts';
import { damaged, noise } from './mutate.ts';
import { fail, type Target } from './target.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const QUIET_MS = 100;
/** Of daemons that keep a file or a connection of each hostile client. */
const MORE_FILES = 60;

export async function openFrames(): Promise<Target> {
  const node = await TestNode.start('node-a');
  const pems = await (await Authority.of(node)).node('node-b');
  const hello = await clientHello();
  await connectJson(node.port, 'HealthCheck', {}, { pems });
  const { fds } = usageOf(node.daemon);
  return {
    parallel: 8,
    generate: (random) =>
      random.chance(0.3) ? { records: records(random, hello) } : { frames: frames(random) },
    async check(input) {
      await (input['records']
        ? overTcp(node.port, input['records'])
        : overTls(node.port, input['frames']!, pems));
    },
    async settle() {
      const { status, answer } = await connectJson(node.port, 'HealthCheck', {}, { pems, from: '127.0.0.2' });
      if (status !== 200 || answer['nodeId'] !== 'node-a')
        fail(`HealthCheck: ${status} ${JSON.stringify(answer)}`);
      if (node.daemon.other.length > 0) fail(`not of the log: ${node.daemon.other.join('\n')}`);
      const error = node.daemon.lines.find(({ level }) => level === 'error');
      if (error) fail(`an error in the log: ${JSON.stringify(error)}`);
      await waitFor(
        () => usageOf(node.daemon).fds < fds + MORE_FILES,
        'the connections of hostile clients to end',
      );
    },
    [Symbol.asyncDispose]: () => node[Symbol.asyncDispose](),
  };
}

/** What a client of TLS 1.3 says first. */
async function clientHello(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const listener = net.createServer((socket) =>
    socket.once('data', (bytes) => (socket.destroy(), resolve(Buffer.from(bytes)))),
  );
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  void rawTls((listener.address() as net.AddressInfo).port, {}).catch(() => {});
  const bytes = await promise;
  listener.close();
  return bytes;
}

function records(random: Random, hello: Buffer): Buffer {
  if (random.chance(0.2))
    return Buffer.concat([
      Buffer.from([random.below(30), 3, random.below(5), random.below(256), random.below(256)]),
      noise(random, random.below(300)),
    ]);
  return damaged(random, hello, [PREFACE]);
}

function frames(random: Random): Buffer {
  const begin = random.chance(0.9) ? [PREFACE, frame(random, 4, 0, 0, Buffer.alloc(0))] : [];
  const all = Array.from({ length: 1 + random.below(8) }, () => anyFrame(random));
  const bytes = Buffer.concat([...begin, ...all]);
  return random.chance(0.4) ? damaged(random, bytes) : bytes;
}

function frame(random: Random, type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(random.chance(0.97) ? payload.length : random.below(2 ** 24), 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function anyFrame(random: Random): Buffer {
  const type = random.chance(0.9) ? random.below(10) : random.below(256);
  const flags = random.of([0, 1, 4, 5, 8, 32, 37, 255]);
  const stream = random.of([0, 1, 1, 1, 2, 3, 5, 2 ** 31 - 1, 2 ** 32 - 1]);
  return frame(
    random,
    type,
    flags,
    stream,
    random.chance(0.7) ? payloadOf(random, type) : noise(random, random.below(64)),
  );
}

function payloadOf(random: Random, type: number): Buffer {
  const number = (bytes: number): Buffer => noise(random, bytes);
  if (type === 0) {
    const body = message(random, random.of(METHODS), 'binary', []);
    return Buffer.concat([Buffer.from([0, 0, 0, 0, body.length & 0xff]), body]);
  }
  if (type === 1 || type === 9) return headers(random);
  if (type === 4)
    return Buffer.concat(
      Array.from({ length: random.below(6) }, () =>
        Buffer.concat([Buffer.from([0, random.below(9)]), number(4)]),
      ),
    );
  return number(type === 2 ? 5 : type === 6 ? 8 : type === 7 ? 8 + random.below(20) : 4);
}

/** A POST without index and Huffman, a few fields of it wrong. */
function headers(random: Random): Buffer {
  const { parent, name } = random.of(METHODS);
  const fields: [string, string][] = [
    [':method', random.of(['POST', 'POST', 'POST', 'GET', 'CONNECT', ''])],
    [':scheme', random.of(['https', 'https', 'http', 'x'])],
    [':authority', random.of(['localhost', '', 'a b'])],
    [
      ':path',
      random.chance(0.8) ? `/${parent.typeName}/${name}` : random.of(['/', '*', '', '/../x', '/a\0b']),
    ],
    ['content-type', random.of(['application/grpc', 'application/json', 'x'])],
    ['te', 'trailers'],
    ['grpc-timeout', random.of(['1S', '-1S', '99999999999H', 'x', '0n'])],
    ['grpc-encoding', random.of(['identity', 'gzip', 'x'])],
  ];
  const kept = fields.filter(() => random.chance(0.92));
  if (random.chance(0.1)) kept.push([random.of(['Upper', 'connection', ':status', ':method', 'a\nb']), 'x']);
  return Buffer.concat(
    kept.flatMap(([key, value]) => [
      Buffer.from([0, key.length]),
      Buffer.from(key),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );
}

function overTcp(port: number, bytes: Buffer): Promise<void> {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: '127.0.0.9' }, () =>
    socket.write(bytes),
  );
  return untilQuiet(socket);
}

async function overTls(port: number, bytes: Buffer, pems: Pems): Promise<void> {
  const socket = await rawTls(port, { pems, from: '127.0.0.8' });
  socket.write(bytes);
  await untilQuiet(socket);
}

function untilQuiet(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.destroy();
      resolve();
    };
    socket.setTimeout(QUIET_MS, done);
    socket.on('error', done).on('close', done);
    socket.resume();
  });
}
