/** `soak.ts MINUTES SEED NODES table|json`: one run, from the first node to the report. Only inside walls.ts. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { checkLogs, elections } from './checks/logs.ts';
import { checkResources } from './checks/resources.ts';
import { checkSubscribers } from './checks/subscribers.ts';
import { checkTrail, type OwedEvent } from './checks/trail.ts';
import { startWorld } from './cluster.ts';
import { STOP_LIMIT_S } from './limits.ts';
import { Readers } from './readers.ts';
import { type Report, table } from './report.ts';
import { Resources } from './resources.ts';
import { strikeAll } from './run.ts';
import { onEnd } from './walls.ts';
import { Watch } from './watch.ts';
import { INVARIANTS, type SoakNode, type World } from './world.ts';
import { startWriters } from './writers.ts';

const [minutes = 0, seed = 0, nodes = 0] = process.argv.slice(2, 5).map(Number);
const json = process.argv[5] === 'json';
const print = (line: string): void => (json ? console.error(line) : console.log(line));

let ended = false;
onEnd(() => (ended = true));

print(`seed ${seed}, ${minutes} minutes, ${nodes} nodes`);
const world = await startWorld(nodes);
print(`${world.clock().padStart(9)} the cluster is up`);
const report = await soak(world);
if (json) console.log(JSON.stringify(report, null, 2));
else console.log(`\n${table(report)}`);
const failed = Object.keys(report.wrong).length;
for (const [name, list] of Object.entries(report.wrong))
  print(`FAILED soak, seed ${seed}: ${INVARIANTS[name as keyof typeof INVARIANTS]}: ${list[0]}`);
print(`${Object.keys(INVARIANTS).length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function soak(those: World): Promise<Report> {
  const began = Date.now();
  const resources = new Resources(those);
  const watch = new Watch(those);
  const readers = new Readers(those, seed);
  const writers = startWriters(those, seed);
  const faults = await strikeAll({
    world: those,
    resources,
    seed,
    minutes,
    ended: () => ended,
    print,
  });
  await Promise.all(writers.map((writer) => writer.stop()));
  // Until the subscribers have been shown the last of it.
  await Bun.sleep(3000);
  await Promise.all([watch.stop(), readers.stop()]);
  resources.stop();
  await Promise.all(those.nodes.map((node) => stop(those, node)));
  const trail = await Promise.all(
    those.nodes.map(async (node, index) => {
      if (!node.server.running) await node.server.start();
      await checkSubscribers(those, node, readers.sessions.get(node) ?? []);
      return { node: node.id, ...(await checkTrail(those, node, writers[index]!, owedBy(node))) };
    }),
  );
  return {
    seed,
    minutes,
    nodes,
    ran_minutes: (Date.now() - began) / 60_000,
    faults,
    coordinator: { elections: elections(those), without_seconds: watch.without / 1000 },
    clients: readers.counts,
    trail,
    resources: checkResources(those, resources),
    logs: checkLogs(those, faults.length),
    wrong: Object.fromEntries(those.wrong),
  };
}

async function stop(those: World, node: SoakNode): Promise<void> {
  const began = Date.now();
  if (!node.life.daemon.running) return;
  const code = await node.stop();
  if (code !== 0) those.found('ends', `${node.id} was told to stop, and ended with ${code}`);
  const took = (Date.now() - began) / 1000;
  if (took > STOP_LIMIT_S) those.found('ends', `${node.id} took ${took.toFixed(1)} s to stop`);
}

/** What a stop could not write any more: the next start would. */
function owedBy({ node: { home } }: SoakNode): OwedEvent[] {
  const file = path.join(home.stateDir, 'audit-outbox.jsonl');
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as OwedEvent);
}
