/**
 * What 3 to 100 peers cost one daemon over mutual TLS: each beats every second (in); and each is beaten and renewed
 * too, as by a coordinator of so many (both ways).
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../support/ports.ts';
import { TestPostgres } from '../support/postgres.ts';
import {
  BenchDaemon,
  type Benchmark,
  certificates,
  configFor,
  cpuSeconds,
  helper,
  requireExecutable,
  temporaryFolder,
} from './harness.ts';

const SIZES = [3, 30, 100];
const SECONDS = 20;

export const scale: Benchmark = async () => {
  requireExecutable();
  const one = await measure('in');
  const two = await measure('both');
  return [
    {
      what: "100 daemons' worth of heartbeats against one: of one core",
      reach: '< 20 %',
      measured: one.text,
      reached: one.shares.at(-1)! < 20,
      samples: one.shares,
    },
    {
      what: 'the same, and heartbeats and renewals to all of them',
      reach: '–',
      measured: two.text,
      reached: true,
      samples: two.shares,
    },
  ];
};

type Direction = 'in' | 'both';

async function measure(direction: Direction): Promise<{ text: string; shares: number[] }> {
  const results = [];
  for (const size of SIZES) results.push({ size, ...(await costOf(size, direction)) });
  const text = results
    .map(({ size, share, memory }) => `${size} peers ${share.toFixed(1)} %, ${memory.toFixed(0)} MB`)
    .join('; ');
  return { text, shares: results.map(({ share }) => share) };
}

/** Percent of a core, and megabytes. */
async function costOf(size: number, direction: Direction): Promise<{ share: number; memory: number }> {
  await using server = await TestPostgres.withExtension();
  const folder = temporaryFolder();
  const port = await freePort();
  const grpc = `{ bind: 127.0.0.1, port: ${port}, advertise: '127.0.0.1:${port}' }`;
  const config = configFor(server, folder, 'bench', '', grpc);
  certificates(config, 'init');
  await using daemon = new BenchDaemon(config);
  await daemon.logged('this node coordinates');
  const certs = path.join(folder, 'bench/certs');
  await using _swarm = await helper('peer-swarm.ts', String(port), certs, String(size), direction);
  await Bun.sleep(3000);
  const before = cpuSeconds(daemon.pid);
  await Bun.sleep(SECONDS * 1000);
  const share = ((cpuSeconds(daemon.pid) - before) / SECONDS) * 100;
  const status = readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
  return { share, memory: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024 };
}
