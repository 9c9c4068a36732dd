/** The local doors beside bare servers that do nothing, and what an idle daemon costs. */
import { TestPostgres } from '../support/postgres.ts';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../support/ports.ts';
import {
  askInTurn,
  BenchDaemon,
  type Benchmark,
  configFor,
  cpuSeconds,
  median,
  percentile,
  reference,
  requireExecutable,
  spread,
  STATUS,
  temporaryFolder,
} from './harness.ts';

const ROUNDS = 7;

export const ipcLatency: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  const folder = temporaryFolder();
  await using daemon = new BenchDaemon(configFor(server, folder));
  await daemon.logged('connected to PostgreSQL');
  const echoPath = path.join(folder, 'echo.sock');
  await using _echo = await reference('echo', echoPath);
  const ours = path.join(folder, 'bench/ipc.sock');
  const ratios: number[] = [];
  const p99s: number[] = [];
  for (let i = -1; i < ROUNDS; i++) {
    const subject = percentile(await askInTurn(ours, STATUS, 3000), 99);
    const bare = percentile(await askInTurn(echoPath, STATUS, 3000), 99);
    if (i < 0) continue; // the first round warms both
    ratios.push(subject / bare);
    p99s.push(subject);
  }
  const connects: number[] = [];
  for (let i = 0; i < 50; i++) {
    const began = performance.now();
    await askInTurn(ours, STATUS, 1);
    connects.push(performance.now() - began);
  }
  return [
    {
      what: 'IPC status.get p99, one client, beside a bare echo server',
      reach: '≤ 3×',
      measured: `${spread(ratios, '×', 2)}; ours ${median(p99s).toFixed(2)} ms`,
      reached: median(ratios) <= 3,
      samples: ratios,
    },
    {
      what: 'connect over IPC and ask status.get [SC-005]',
      reach: '≤ 100 ms',
      measured: spread(connects, 'ms', 2),
      reached: percentile(connects, 99) <= 100,
      samples: connects,
    },
  ];
};

const CLIENTS = 16;

/** That many requests, several in flight. */
export async function askHttp(url: string, count: number): Promise<void> {
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) await (await fetch(url)).arrayBuffer();
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** Requests a second, over `ms` milliseconds. */
async function load(url: string, ms: number): Promise<number> {
  const end = performance.now() + ms;
  let count = 0;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      await (await fetch(url)).arrayBuffer();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return count / (ms / 1000);
}

export const httpThroughput: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  const folder = temporaryFolder();
  const port = await freePort();
  const barePort = await freePort();
  const http = `http: { enabled: true, bind: 127.0.0.1, port: ${port} }`;
  await using daemon = new BenchDaemon(configFor(server, folder, 'bench', http));
  await daemon.logged('connected to PostgreSQL');
  const url = `http://127.0.0.1:${port}/health`;
  const size = (await (await fetch(url)).arrayBuffer()).byteLength;
  await using _bare = await reference('http', String(barePort), String(size));
  const ratios: number[] = [];
  const rates: number[] = [];
  for (let i = -1; i < ROUNDS; i++) {
    const ours = await load(url, 1500);
    const bare = await load(`http://127.0.0.1:${barePort}/`, 1500);
    if (i < 0) continue;
    ratios.push(ours / bare);
    rates.push(ours);
  }
  return [
    {
      what: 'HTTP /health requests a second beside a bare Bun.serve',
      reach: '≥ 0.7×',
      measured: `${spread(ratios, '×', 2)}; ours ${median(rates).toFixed(0)}/s`,
      reached: median(ratios) >= 0.7,
      samples: ratios,
    },
  ];
};

const IDLE_SECONDS = 60;
const MEMORY_MINUTES = Number(process.env['STEEP_MEMORY_MINUTES'] ?? 60);
/** It settles in the first of them. */
const SETTLING_MINUTES = 5;
/** Megabytes by which memory may differ between the sixth minute and the last, and count as flat. */
const FLAT_MB = 10;

/** Megabytes. */
export function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** An idle daemon for an hour, looked at once a minute. */
export const memory: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  await using daemon = new BenchDaemon(configFor(server, temporaryFolder()));
  await daemon.logged('connected to PostgreSQL');
  await Bun.sleep(SETTLING_MINUTES * 60_000);
  const samples: number[] = [];
  for (let minute = SETTLING_MINUTES; minute <= MEMORY_MINUTES; minute += 1) {
    samples.push(memoryOf(daemon.pid));
    await Bun.sleep(60_000);
  }
  const [first = 0, last = 0] = [samples[0], samples.at(-1)];
  return [
    {
      what: `idle for ${MEMORY_MINUTES} min: memory (RSS) after ${SETTLING_MINUTES} min and at the end`,
      reach: 'flat, ≤ 100 MB',
      measured: `${first.toFixed(0)} → ${last.toFixed(0)} MB, at most ${Math.max(...samples).toFixed(0)} MB`,
      reached: last - first <= FLAT_MB && Math.max(...samples) <= 100,
      samples,
    },
  ];
};

export const idle: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  await using daemon = new BenchDaemon(configFor(server, temporaryFolder()));
  await daemon.logged('connected to PostgreSQL');
  await Bun.sleep(5000);
  const before = cpuSeconds(daemon.pid);
  await Bun.sleep(IDLE_SECONDS * 1000);
  const share = ((cpuSeconds(daemon.pid) - before) / IDLE_SECONDS) * 100;
  const rss = memoryOf(daemon.pid);
  return [
    {
      what: `idle for ${IDLE_SECONDS} s, connected: one core`,
      reach: '< 1 %',
      measured: `${share.toFixed(2)} %`,
      reached: share < 1,
      samples: [share],
    },
    {
      what: 'idle: memory (RSS)',
      reach: '≤ 100 MB',
      measured: `${rss.toFixed(0)} MB`,
      reached: rss <= 100,
      samples: [rss],
    },
  ];
};
