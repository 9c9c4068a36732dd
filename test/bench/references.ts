/** The bare servers that stand beside ours in a benchmark: `bun references.ts echo PATH | http PORT BYTES | rpc PORT CERTS`. */
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  Coordinator,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../src/gen/steep/repl/v1/coordinator_pb.ts';

const [what, where = '', size = '0'] = process.argv.slice(2);

if (what === 'echo') {
  // A JSON-lines echo: parses each line, and answers with what it was asked.
  net
    .createServer((socket) => {
      let rest = '';
      socket.on('data', (chunk) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) socket.write(`${JSON.stringify(JSON.parse(line))}\n`);
      });
    })
    .listen(where, () => console.log('ready'));
} else if (what === 'rpc') {
  const constant = {
    status: ServingStatus.SERVING,
    components: {
      postgresql: { healthy: true, status: 'connected', message: '' },
      grpc: { healthy: true, status: 'listening', message: '' },
      ipc: { healthy: true, status: 'listening', message: '' },
    },
    nodeId: 'bench',
    nodeName: 'bench',
    version: '0.1.0',
  };
  const handler = connectNodeAdapter({
    routes: (router) => router.service(Coordinator, { healthCheck: () => constant }),
  });
  const read = (name: string): string => readFileSync(`${size}/${name}`, 'utf8');
  http2
    .createSecureServer(
      {
        cert: read('node.crt'),
        key: read('node.key'),
        ca: read('ca.crt'),
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.3',
      },
      handler,
    )
    .listen(Number(where), '127.0.0.1', () => console.log('ready'));
} else {
  const body = JSON.stringify({ filler: 'x'.repeat(Math.max(0, Number(size) - 13)) });
  Bun.serve({
    hostname: '127.0.0.1',
    port: Number(where),
    development: false,
    fetch: () => new Response(body, { headers: { 'content-type': 'application/json' } }),
  });
  console.log('ready');
}
