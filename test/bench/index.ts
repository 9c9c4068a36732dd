/** `bun run bench [NAME…] [--json]`: the rows of contract section 15 that can be measured on this machine. */
import { cpus, totalmem } from 'node:os';
import { auditTrail, createExtension } from './audit.ts';
import { httpThroughput, idle, ipcLatency, memory } from './doors.ts';
import { failover, quiet } from './failover.ts';
import type { Benchmark, Row } from './harness.ts';
import { lossAndRecovery } from './loss.ts';
import { firstRpc, rpcThroughput } from './rpc.ts';
import { scale } from './scale.ts';
import { startOfExecutable, startToConnected } from './start.ts';

const benchmarks: Record<string, Benchmark> = {
  version: startOfExecutable,
  connect: startToConnected,
  loss: lossAndRecovery,
  extension: createExtension,
  audit: auditTrail,
  ipc: ipcLatency,
  http: httpThroughput,
  rpc: rpcThroughput,
  join: firstRpc,
  idle,
  scale,
};

/** Only when they are named: they take long, or want root. */
const onDemand: Record<string, Benchmark> = { failover, quiet, memory };

const names = process.argv.slice(2).filter((arg) => arg !== '--json');
const known = { ...benchmarks, ...onDemand };
for (const name of names)
  if (!(name in known)) {
    console.error(`no benchmark ${name}; there are: ${Object.keys(known).join(', ')}`);
    process.exit(2);
  }
const json = process.argv.includes('--json');
const rows: Row[] = [];
for (const [name, benchmark] of Object.entries(known)) {
  if (names.length > 0 ? !names.includes(name) : name in onDemand) continue;
  if (!json) console.error(`${name} …`);
  rows.push(...(await benchmark()));
}
const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Bun ${Bun.version}`;
if (json) {
  console.log(JSON.stringify({ machine, rows }, null, 2));
} else {
  console.log(`\n${machine}; median (least–most)\n`);
  console.log('| what | reach | measured | |\n|---|---|---|---|');
  for (const { what, reach, measured, reached } of rows)
    console.log(`| ${what} | ${reach} | ${measured} | ${reached ? 'reached' : 'MISSED'} |`);
}
process.exit(0);
