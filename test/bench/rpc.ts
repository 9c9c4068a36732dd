/** HealthCheck over mutual TLS beside a bare connect-node service that returns a constant; and how soon two daemons speak. */
import { TestPostgres } from '../support/postgres.ts';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import path from 'node:path';
import { Coordinator } from '../../src/gen/steep/repl/v1/coordinator_pb.ts';
import { thisPlatform } from '../../src/platform/index.ts';
import { loadTlsMaterial, type TlsMaterial } from '../../src/tls/material.ts';
import { clientTlsOptions } from '../../src/tls/options.ts';
import { freePort } from '../support/ports.ts';
import {
  BenchDaemon,
  type Benchmark,
  certificates,
  configFor,
  median,
  reference,
  requireExecutable,
  spread,
  temporaryFolder,
} from './harness.ts';

const ROUNDS = 7;
const IN_FLIGHT = 32;
const ROUND_MS = 2000;
const FIRST_RPCS = 10;

function clientOf(port: number, material: TlsMaterial): Client<typeof Coordinator> {
  const transport = createGrpcTransport({
    baseUrl: `https://127.0.0.1:${port}`,
    nodeOptions: clientTlsOptions(material, { host: '127.0.0.1' }),
    pingIdleConnection: false,
  });
  return createClient(Coordinator, transport);
}

/** That many calls, several in flight. */
export async function askRpc(port: number, material: TlsMaterial, count: number): Promise<void> {
  const client = clientOf(port, material);
  let left = count;
  const caller = async (): Promise<void> => {
    while (left-- > 0) await client.healthCheck({ service: '' });
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
}

/** Calls a second. */
async function load(port: number, material: TlsMaterial): Promise<number> {
  const client = clientOf(port, material);
  await client.healthCheck({ service: '' });
  const end = performance.now() + ROUND_MS;
  let count = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() < end) {
      await client.healthCheck({ service: '' });
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  return count / (ROUND_MS / 1000);
}

export const rpcThroughput: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  const folder = temporaryFolder();
  const [port, barePort] = [await freePort(), await freePort()];
  const config = configFor(server, folder, 'bench', '', `{ bind: 127.0.0.1, port: ${port} }`);
  const certs = path.join(folder, 'bench/certs');
  certificates(config, 'init');
  const files = { cert_file: `${certs}/node.crt`, key_file: `${certs}/node.key`, ca_file: `${certs}/ca.crt` };
  const material = loadTlsMaterial(files, thisPlatform());
  if ('missing' in material) throw new Error(`no certificates: ${material.missing.join(', ')}`);
  await using daemon = new BenchDaemon(config);
  await daemon.logged('connected to PostgreSQL');
  await using _bare = await reference('rpc', String(barePort), certs);
  const ratios: number[] = [];
  const rates: number[] = [];
  for (let i = -1; i < ROUNDS; i++) {
    const ours = await load(port, material);
    const bare = await load(barePort, material);
    if (i < 0) continue; // the first round warms both
    ratios.push(ours / bare);
    rates.push(ours);
  }
  return [
    {
      what: `RPC HealthCheck over mTLS, ${IN_FLIGHT} in flight, beside a bare connect-node service`,
      reach: '≥ 0.8×',
      measured: `${spread(ratios, '×', 2)}; ours ${median(rates).toFixed(0)}/s`,
      reached: median(ratios) >= 0.8,
      samples: ratios,
    },
  ];
};

/** From the start of the second daemon until the first has let it in and has answered its HealthCheck. */
export const firstRpc: Benchmark = async () => {
  requireExecutable();
  const samples: number[] = [];
  for (let i = 0; i < FIRST_RPCS; i++) {
    await using server = await TestPostgres.withExtension();
    await using joining = await TestPostgres.withExtension();
    const folder = temporaryFolder();
    const [a, b] = await Promise.all([daemonAddress(), daemonAddress()]);
    const first = configFor(server, folder, 'a', '', a.grpc);
    certificates(first, 'init');
    certificates(first, 'issue', 'b', '--out', path.join(folder, 'b/certs'));
    await using there = new BenchDaemon(first);
    await there.logged('this node coordinates');
    const second = configFor(joining, folder, 'b', `cluster: { join: ['127.0.0.1:${a.port}'] }`, b.grpc);
    await using daemon = new BenchDaemon(second);
    samples.push((await daemon.logged('joined the cluster')) - daemon.startedAt);
  }
  return [
    {
      what: 'start of a second daemon to its first RPCs answered by the first one [SC-006]',
      reach: '≤ 1 s',
      measured: spread(samples, 'ms', 0),
      reached: median(samples) <= 1000,
      samples,
    },
  ];
};

async function daemonAddress(): Promise<{ port: number; grpc: string }> {
  const port = await freePort();
  return { port, grpc: `{ bind: 127.0.0.1, port: ${port}, advertise: '127.0.0.1:${port}' }` };
}
