/**
 * `bun test/simulation/index.ts [--schedules N] [--seed S] [--without RULE]`: runs N schedules from seed S on; the
 * first that breaks a promise is shown event by event. `--seed S --schedules 1` shows that one again.
 */
import { parseArgs } from 'node:util';
import { type Broken, broken } from './broken.ts';
import { Violation } from './promises.ts';
import { Simulation } from './world.ts';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    without: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const without: Broken = values.without === undefined ? {} : (broken[values.without] ?? fail(values.without));
const first = Number(values.seed);
const count = Number(values.schedules);
const began = performance.now();
let elections = 0;
let changes = 0;
for (let seed = first; seed < first + count; seed += 1) {
  const simulation = new Simulation({ seed, ...without, ...(values.trace ? { trace: console.log } : {}) });
  try {
    simulation.run();
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    const lines: string[] = [];
    try {
      new Simulation({ seed, ...without, trace: (line) => lines.push(line) }).run();
    } catch {
      // the same again
    }
    console.log(`${lines.slice(-60).join('\n')}\nseed ${seed}: ${error.message}`);
    process.exit(1);
  }
  elections += simulation.elections;
  changes += simulation.changes;
}
const seconds = (performance.now() - began) / 1000;
console.log(
  `${count} schedules, ${elections} elections, ${changes} changes of the list, no promise broken; ${seconds.toFixed(1)} s`,
);

function fail(rule: string): never {
  throw new Error(`no such rule: ${rule}; there are ${Object.keys(broken).join(', ')}`);
}
