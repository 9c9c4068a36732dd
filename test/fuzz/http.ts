/** Bytes for the HTTP door of a daemon: whatever comes back is an answer of HTTP, none of a defect. */
import net from 'node:net';
import { rawRequest } from '../integration/http/raw.ts';
import { DoorDaemon } from '../integration/ipc/support.ts';
import type { Random } from '../simulation/random.ts';
import { freePort } from '../support/ports.ts';
import { damaged } from './mutate.ts';
import { fail, type Target } from './target.ts';

const PATHS = [
  '/health',
  '/ready',
  '/live',
  '/coordinator',
  '/metrics',
  '/',
  '//',
  '*',
  '/%00',
  '/../etc/passwd',
  'http://x/health',
  '/health?a=1#b',
];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'TRACE', 'CONNECT', 'PRI', 'get', ''];
const VERSIONS = ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', ''];
const HEADERS = [
  'Host: x',
  'Host:',
  'Host: x\r\nHost: y',
  'Content-Length: 5',
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: x',
  'Content-Length: 3\r\nTransfer-Encoding: chunked',
  'Expect: 100-continue',
  'Connection: keep-alive',
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13',
  'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__',
  'Range: bytes=0-1',
  'If-None-Match: *',
  ' folded',
  'no colon',
  'A\0B: c',
  `X: ${'y'.repeat(20_000)}`,
  'Accept-Encoding: gzip, br',
];
const BODIES = [
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  'ffffffffffffffff\r\nx',
  'GET /live HTTP/1.1\r\nHost: x\r\n\r\n',
];
const QUIET_MS = 100;

export async function openHttp(): Promise<Target> {
  const port = await freePort();
  const daemon = await DoorDaemon.start({ config: { http: { enabled: true, bind: '127.0.0.1', port } } });
  return {
    parallel: 16,
    generate: (random) => ({ request: request(random) }),
    async check({ request: bytes }) {
      const answer = await answerTo(port, bytes!);
      if (answer === '') return; // not worth one
      if (!/^HTTP\/1\.1 [1-5]\d\d/.test(answer)) fail(`the answer ${JSON.stringify(answer.slice(0, 200))}`);
      if (/^HTTP\/1\.1 500/m.test(answer)) fail(`a defect: ${JSON.stringify(answer.slice(0, 400))}`);
      if (/node_modules|\.ts:\d|at .*:\d+:\d+/.test(answer))
        fail(`it shows what it is made of: ${answer.slice(0, 400)}`);
    },
    async settle() {
      const { status, body } = await rawRequest(port, 'GET /live HTTP/1.0\r\n\r\n');
      if (status !== 200 || body !== '{"alive":true}') fail(`/live is ${status} ${body}`);
      if (daemon.log.includes('"level":"error"')) fail(`an error in the log: ${daemon.log}`);
    },
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

function request(random: Random): Buffer {
  const headers = Array.from({ length: random.below(4) }, () => random.of(HEADERS));
  const first = `${random.of(METHODS)} ${random.of(PATHS)} ${random.of(VERSIONS)}`;
  const bytes = Buffer.from([first, ...headers, '', random.of(BODIES)].join('\r\n'), 'latin1');
  return random.chance(0.5) ? damaged(random, bytes) : bytes;
}

/** What came until it was quiet; half a request is waited for by the daemon, not by us. */
function answerTo(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    let received = '';
    const done = (): void => {
      socket.destroy();
      resolve(received);
    };
    socket.setTimeout(QUIET_MS, done);
    socket.on('data', (chunk) => (received += chunk.toString('latin1')));
    socket.on('error', done).on('close', done);
  });
}
