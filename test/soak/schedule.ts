/** Which fault comes when, on whom, for how long: all of it from the seed, nothing from the clock. */
import { Random } from '../simulation/random.ts';
import { type FaultName, faults } from './faults/index.ts';

export interface Planned {
  fault: FaultName;
  /** The index of a node, or whoever coordinates then. */
  target: number | 'the coordinator';
}

export interface Round {
  number: number;
  /** One, or two that begin and end together on two nodes. */
  planned: Planned[];
  /** How long they last. */
  seconds: number;
  /** How long it stays quiet afterwards. */
  pause: number;
  /** For what a fault decides by itself. */
  seed: number;
}

const names = Object.keys(faults) as FaultName[];

export function* schedule(seed: number, nodes: number): Generator<Round, never> {
  const random = new Random(seed);
  /** Each kind comes once before any comes again: a short run has seen most of them. */
  let deck = shuffled(names, random);
  // Later it would end the daemon whose memory is watched (run.ts): early, or never.
  const [all] = deck.splice(deck.indexOf('all daemons killed'), 1);
  deck.splice(random.below(4), 0, all!);
  const draw = (fits: (name: FaultName) => boolean): FaultName => {
    if (!deck.some(fits)) deck = [...deck, ...shuffled(names, random)];
    const [name = names[0]!] = deck.splice(deck.findIndex(fits), 1);
    return name;
  };
  for (let number = 1; ; number += 1) {
    const first = draw(() => true);
    const target = random.chance(0.4) ? 'the coordinator' : random.below(nodes);
    const planned: Planned[] = [{ fault: first, target }];
    const partner = random.chance(0.35);
    const step = 1 + random.below(nodes - 1);
    if (partner && !faults[first].alone)
      planned.push({
        fault: draw((name) => !faults[name].alone),
        // Of the coordinator's companion it is only known that it is another one: see run.ts.
        target: typeof target === 'number' ? (target + step) % nodes : step,
      });
    yield {
      number,
      planned,
      seconds: random.between(1, 12),
      pause: random.between(0.5, 4),
      seed: random.below(2 ** 31),
    };
  }
}

function shuffled<T>(those: readonly T[], random: Random): T[] {
  const rest = [...those];
  return those.map(() => rest.splice(random.below(rest.length), 1)[0]!);
}
