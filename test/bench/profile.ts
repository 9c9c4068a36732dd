/**
 * `bun test/bench/profile.ts http|ipc|rpc`: asks a daemon, run from its sources, so many times, and prints what one
 * answer costs of a processor beside the bare server of references.ts, and which functions that went to.
 */
import path from 'node:path';
import { thisPlatform } from '../../src/platform/index.ts';
import { loadTlsMaterial } from '../../src/tls/material.ts';
import { freePort } from '../support/ports.ts';
import { TestPostgres } from '../support/postgres.ts';
import {
  askInTurn,
  BenchDaemon,
  certificates,
  configFor,
  cpuSeconds,
  median,
  reference,
  requireExecutable,
  STATUS,
  temporaryFolder,
} from './harness.ts';
import { askHttp } from './doors.ts';
import { askRpc } from './rpc.ts';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string }; children?: number[] }[];
  samples: number[];
  timeDeltas: number[];
}

const ROUNDS = 5;
const SHOWN = 25;
const root = path.join(import.meta.dir, '../..');

const [door = ''] = process.argv.slice(2);
requireExecutable(); // it makes the certificates
await using server = await TestPostgres.withExtension();
const folder = temporaryFolder();
const [port, barePort, httpPort] = [await freePort(), await freePort(), await freePort()];
const config = configFor(
  server,
  folder,
  'bench',
  `http: { enabled: true, bind: 127.0.0.1, port: ${httpPort} }`,
  `{ bind: 127.0.0.1, port: ${port} }`,
);
certificates(config, 'init');
const certs = path.join(folder, 'bench/certs');
const files = { cert_file: `${certs}/node.crt`, key_file: `${certs}/node.key`, ca_file: `${certs}/ca.crt` };
const material = loadTlsMaterial(files, thisPlatform());
if ('missing' in material) throw new Error(`no certificates: ${material.missing.join(', ')}`);
const echo = path.join(folder, 'echo.sock');
const health = `http://127.0.0.1:${httpPort}/health`;

interface Door {
  /** Requests of a round. */
  count: number;
  ours: (count: number) => Promise<unknown>;
  bare: (count: number) => Promise<unknown>;
  /** What references.ts is told. */
  reference: () => Promise<string[]>;
}

const doors: Record<string, Door> = {
  http: {
    count: 30_000,
    ours: (count: number) => askHttp(health, count),
    bare: (count: number) => askHttp(`http://127.0.0.1:${barePort}/`, count),
    reference: async () => [
      'http',
      String(barePort),
      String((await (await fetch(health)).arrayBuffer()).byteLength),
    ],
  },
  ipc: {
    count: 10_000,
    ours: (count: number) => askInTurn(path.join(folder, 'bench/ipc.sock'), STATUS, count),
    bare: (count: number) => askInTurn(echo, STATUS, count),
    reference: async () => ['echo', echo],
  },
  rpc: {
    count: 5000,
    ours: (count: number) => askRpc(port, material, count),
    bare: (count: number) => askRpc(barePort, material, count),
    reference: async () => ['rpc', String(barePort), certs],
  },
};
const asked = doors[door];
if (!asked) throw new Error(`name one of ${Object.keys(doors).join(', ')}`);
const { count, ours, bare, reference: ofBare } = asked;

/** Microseconds of processor that one answer took. */
async function cost(pid: number, ask: (times: number) => Promise<unknown>): Promise<number> {
  const before = cpuSeconds(pid);
  await ask(count);
  return ((cpuSeconds(pid) - before) / count) * 1e6;
}

{
  const options = ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-name=daemon.cpuprofile'];
  await using daemon = new BenchDaemon(config, ['bun', ...options, path.join(root, 'src/main.ts')]);
  await daemon.logged('connected to PostgreSQL');
  await using beside = await reference(...(await ofBare()));
  const costs: { ours: number[]; bare: number[] } = { ours: [], bare: [] };
  for (let round = -1; round < ROUNDS; round += 1) {
    const [one, other] = [await cost(daemon.pid, ours), await cost(beside.pid, bare)];
    if (round < 0) continue; // the first round warms both
    costs.ours.push(one);
    costs.bare.push(other);
  }
  const [one, other] = [median(costs.ours), median(costs.bare)];
  console.log(
    `${door}: ${one.toFixed(0)} µs of processor an answer, the bare server ${other.toFixed(0)} µs\n`,
  );
}

const profile = (await Bun.file(path.join(folder, 'daemon.cpuprofile')).json()) as CpuProfile;
const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
const parents = new Map(
  profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])),
);
const nameOf = (id: number): string => {
  const { functionName, url } = nodes.get(id)!.callFrame;
  return `${functionName || '(unnamed)'} ${url.split('/').slice(-3).join('/')}`.trim();
};
const own = new Map<string, number>();
const below = new Map<string, number>();
let total = 0;
for (const [index, id] of profile.samples.entries()) {
  const time = profile.timeDeltas[index] ?? 0;
  total += time;
  own.set(nameOf(id), (own.get(nameOf(id)) ?? 0) + time);
  const names = new Set<string>();
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) names.add(nameOf(at));
  for (const name of names) below.set(name, (below.get(name) ?? 0) + time);
}
console.log('with all it calls   itself');
for (const [name, time] of [...below].sort(([, a], [, b]) => b - a).slice(0, SHOWN)) {
  const share = (part: number): string => `${((part / total) * 100).toFixed(1)} %`.padStart(8);
  console.log(`${share(time)}         ${share(own.get(name) ?? 0)}   ${name}`);
}
process.exit(0);
