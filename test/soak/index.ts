/**
 * `bun run soak --minutes N [--seed S] [--nodes 3] [--json]`: a cluster of compiled daemons and real PostgreSQL 18s
 * under random faults and load, and what must hold meanwhile and afterwards. Root; docs/soak.md says more.
 *
 * This process only puts up the walls: inside them is soak.ts.
 */
import { parseArgs } from 'node:util';
import { executable, requireExecutable } from '../bench/harness.ts';
import { walledIn } from './walls.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    nodes: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const [minutes, seed, nodes] = [values.minutes, values.seed, values.nodes].map(Number) as [
  number,
  number,
  number,
];
if (!(minutes > 0) || !Number.isSafeInteger(seed) || !(nodes >= 3 && nodes <= 7))
  throw new Error('bun run soak --minutes N [--seed S] [--nodes 3…7] [--json]');
if (process.getuid?.() !== 0) throw new Error('the soak makes networks and disks of its own: run it as root');

const { STEEP_REPL_BINARY: named } = process.env;
if (named === undefined) requireExecutable();
process.exitCode = await walledIn(
  ['soak.ts', String(minutes), String(seed), String(nodes), values.json ? 'json' : 'table'],
  named ?? executable,
);
