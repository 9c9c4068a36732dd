/**
 * What 3 to 100 peers cost one daemon over mutual TLS: each beats every second (in); and each is beaten and renewed
 * too, as by a coordinator of so many (both ways).
 */
import path from 'node:path';
import { memoryOf } from './doors.ts';
import { freePort } from '../support/ports.ts';
import { TestPostgres } from '../support/postgres.ts';
import {
  askInTurn,
  BenchDaemon,
  type Benchmark,
  certificates,
  configFor,
  cpuSeconds,
  helper,
  percentile,
  requireExecutable,
  STATUS,
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
      what: "100 daemons' worth of heartbeats against one: of one core; memory; IPC p99 meanwhile",
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
    .map(
      ({ size, share, memory, delay }) =>
        `${size} peers ${share.toFixed(1)} %, ${memory.toFixed(0)} MB, ${delay.toFixed(1)} ms`,
    )
    .join('; ');
  return { text, shares: results.map(({ share }) => share) };
}

interface Cost {
  /** Percent of a core. */
  share: number;
  /** Megabytes. */
  memory: number;
  /** Until the daemon answers somebody else, over IPC: milliseconds, p99. Its loop is busy for less than that. */
  delay: number;
}

async function costOf(size: number, direction: Direction): Promise<Cost> {
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
  const delays: number[] = [];
  const began = performance.now();
  while (performance.now() - began < SECONDS * 1000) {
    delays.push(...(await askInTurn(path.join(folder, 'bench/ipc.sock'), STATUS, 1)));
    await Bun.sleep(100);
  }
  const seconds = (performance.now() - began) / 1000;
  const share = ((cpuSeconds(daemon.pid) - before) / seconds) * 100;
  return { share, memory: memoryOf(daemon.pid), delay: percentile(delays, 99) };
}
