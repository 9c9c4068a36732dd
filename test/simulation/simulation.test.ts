/** The promises of docs/cluster.md in virtual time, and that the simulation would notice if they were broken. */
import { describe, expect, test } from 'bun:test';
import { broken, type Broken } from './broken.ts';
import { Violation } from './promises.ts';
import { Simulation } from './world.ts';

const SCHEDULES = Number(process.env['SIMULATION_SCHEDULES'] ?? 20_000);
const PART = 2500;
/** How far to look for a schedule that a missing rule breaks; the rarest is one in some thousands. */
const FAR = 30_000;
/** Generous: a small machine that is busy takes its time. */
const LIMIT_MS = 120_000;

/** What it was that did not hold; undefined: everything did. */
function violation(seed: number, without: Broken = {}): string | undefined {
  try {
    new Simulation({ seed, ...without }).run();
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  }
}

console.log(`simulation: seeds 1 to ${SCHEDULES} (SIMULATION_SCHEDULES takes more)`);

describe(`${SCHEDULES} schedules break no promise`, () => {
  for (let first = 1; first <= SCHEDULES; first += PART) {
    const last = Math.min(first + PART - 1, SCHEDULES);
    test(
      `seeds ${first} to ${last}`,
      () => {
        for (let seed = first; seed <= last; seed += 1) {
          const found = violation(seed);
          if (found !== undefined)
            throw new Error(`${found}; again:  bun test/simulation/index.ts --seed ${seed} --schedules 1`);
        }
      },
      LIMIT_MS,
    );
  }
});

test('a seed is the same schedule each time', () => {
  const [once, again] = [1, 2].map(() => {
    const lines: string[] = [];
    new Simulation({ seed: 7, trace: (line) => lines.push(line) }).run();
    return lines;
  });
  expect(once!.length).toBeGreaterThan(10);
  expect(again).toEqual(once);
});

describe('without a rule a promise is broken', () => {
  /** Where to begin to look: near where it was found. */
  const from: Record<string, number> = {
    'silence after a start': 940,
    'the lease counts from the asking': 250,
    'a margin for clocks': 260,
    'one vote a term': 1960,
    'no vote for an older list': 300,
    'a release is for one promise': 101_000,
    'a vote is of one copy': 12_500,
  };
  for (const [rule, without] of Object.entries(broken))
    test(
      rule,
      () => {
        const first = from[rule] ?? 1;
        let found: string | undefined;
        for (let seed = first; seed < first + FAR && found === undefined; seed += 1)
          found = violation(seed, without);
        expect(found).toBeDefined();
      },
      LIMIT_MS,
    );
});
