/**
 * `bun peer-swarm.ts PORT CA_FOLDER COUNT in|both`: as many peers, each with a certificate, a port and a connection of its
 * own, that register with the daemon and beat every second; with `both` they can be dialled, and answer.
 */
import http2 from 'node:http2';
import { createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { Coordinator } from '../../src/gen/steep/repl/v1/coordinator_pb.ts';
import { Election } from '../../src/gen/steep/repl/v1/election_pb.ts';
import { Authority } from '../integration/rpc/support.ts';
import { freePort } from '../support/ports.ts';

const [port = '', certs = '', count = '0', direction = 'both'] = process.argv.slice(2);
const INTERVAL_MS = 1000;
const authority = await Authority.of({ certs, pems: { ca: await Bun.file(`${certs}/ca.crt`).text() } });

async function peer(index: number): Promise<void> {
  const nodeId = `peer-${index}`;
  const pems = await authority.node(nodeId);
  const own = await freePort();
  const tls = { ...pems, minVersion: 'TLSv1.3' } as const;
  const handler = connectNodeAdapter({
    routes: (router) => {
      router.service(Coordinator, { heartbeat: () => ({ acknowledged: true }) });
      router.service(Election, {
        renew: ({ term, version }) => ({
          granted: true,
          term,
          instanceId: `instance-of-${nodeId}`,
          ...(version ? { version } : {}),
        }),
      });
    },
  });
  const options = { ...tls, requestCert: true, rejectUnauthorized: true };
  http2.createSecureServer(options, handler).listen(own, '127.0.0.1');
  // 64 connections are let in from one address; node:net takes this option, which http2's types do not know.
  const connection = { ...tls, localAddress: `127.0.0.${2 + (index % 50)}` };
  const transport = createGrpcTransport({
    baseUrl: `https://127.0.0.1:${port}`,
    nodeOptions: connection,
  });
  const client = createClient(Coordinator, transport);
  await client.registerNode({
    nodeId,
    nodeName: nodeId,
    host: '127.0.0.1',
    port: 5432,
    ...(direction === 'both' ? { grpcHost: '127.0.0.1', grpcPort: own } : {}),
    role: 'node',
    instanceId: `instance-of-${nodeId}`,
    revision: 1n,
    votes: false,
  });
  setInterval(() => {
    client.heartbeat({ nodeId, nodeStatus: { postgresqlConnected: true } }).catch((error: Error) => {
      console.error(`${nodeId}: ${error.message}`);
    });
  }, INTERVAL_MS);
}

for (let index = 0; index < Number(count); index += 1) await peer(index);
console.log('ready');
