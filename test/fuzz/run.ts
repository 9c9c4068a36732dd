/**
 * `bun test/fuzz/run.ts TARGET SEED SECONDS CASES PROGRESS`: throws inputs at one target until time or cases are over,
 * or one fails. Case number n is made by the seed SEED + n, so that it can be had again alone. What is being tried
 * stands in the file PROGRESS, for whoever has to end this process because it hangs.
 */
import { writeFileSync } from 'node:fs';
import { Random } from '../simulation/random.ts';
import { shown, shrunk } from './shrink.ts';
import { type Input, type OpenTarget, type Target } from './target.ts';
import { targets } from './targets.ts';

const SHRINK_TRIES = 400;

const [name = '', seed = '0', seconds = '0', most = '0', progress = ''] = process.argv.slice(2);
const open = (await targets[name]?.()) as OpenTarget;
let trying = '';
void main();

async function main(): Promise<void> {
  const first = Number(seed);
  const until = performance.now() + Number(seconds) * 1000;
  let target = await open();
  let cases = 0;
  let failure: string | undefined;
  while (failure === undefined && cases < Number(most) && performance.now() < until) {
    const batch = Array.from(
      { length: Math.min(target.parallel ?? 1, Number(most) - cases) },
      (_, index) => ({
        seed: first + cases + index,
        input: target.generate(new Random(first + cases + index)),
      }),
    );
    trying = `${name} --seed ${first + cases} --cases ${batch.length}`;
    const wrong = await problemOf(
      target,
      batch.map(({ input }) => input),
    );
    if (wrong !== undefined) {
      await target[Symbol.asyncDispose]();
      failure = await explained(batch, wrong);
      target = await open();
    }
    cases += batch.length;
  }
  await target[Symbol.asyncDispose]();
  console.log(`${name}: ${cases} cases from seed ${first}${failure === undefined ? '' : ', and one failed'}`);
  if (failure !== undefined) console.log(failure);
  process.exit(failure === undefined ? 0 : 1);
}

async function problemOf(target: Target, inputs: readonly Input[]): Promise<string | undefined> {
  writeFileSync(progress, trying);
  try {
    await Promise.all(inputs.map((input) => target.check(input)));
    await target.settle?.();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Which of them it was, alone, and as small as it gets. */
async function explained(batch: readonly { seed: number; input: Input }[], wrong: string): Promise<string> {
  let target = await open();
  let said = '';
  const fails = async (input: Input): Promise<boolean> => {
    const problem = await problemOf(target, [input]);
    if (problem === undefined) return false;
    said = problem;
    await target[Symbol.asyncDispose](); // it may have broken more than this case
    target = await open();
    return true;
  };
  try {
    for (const { seed: own, input } of batch) {
      if (!(await fails(input))) continue;
      const smallest = await shrunk(input, fails, SHRINK_TRIES);
      return `${said}\n  again:  bun run fuzz ${name} --seed ${own} --cases 1\n  ${shown(smallest)}`;
    }
    const together = `bun run fuzz ${name} --seed ${batch[0]?.seed} --cases ${batch.length}`;
    return `${wrong}\n  only of several at once:  ${together}`;
  } finally {
    await target[Symbol.asyncDispose]();
  }
}
