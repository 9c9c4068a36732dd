/** Strikes one round after the other and waits until the cluster is well again; a line for each. */
import { Random } from '../simulation/random.ts';
import { type FaultName, faults } from './faults/index.ts';
import { RECOVERY_S } from './limits.ts';
import type { Resources } from './resources.ts';
import { type Planned, type Round, schedule } from './schedule.ts';
import { type Settled, settled } from './settle.ts';
import type { SoakNode, World } from './world.ts';

/** Of the time: later the process of the oldest daemon is left alone. */
const BEGINNING = 0.2;

export interface Struck {
  at: number;
  round: number;
  faults: { name: FaultName; node: string; told?: string }[];
  seconds: number;
  coordinator: number | null;
  well: number | null;
}

export interface RunOptions {
  world: World;
  resources: Resources;
  seed: number;
  minutes: number;
  /** Whether to end now. */
  ended: () => boolean;
  print: (line: string) => void;
}

export async function strikeAll(options: RunOptions): Promise<Struck[]> {
  const { world, resources, seed, minutes, ended, print } = options;
  const passed = (): number => (Date.now() - world.began) / 60_000 / minutes;
  const done: Struck[] = [];
  let state = await settled(world);
  await resources.countHandles();
  for (const round of schedule(seed, world.nodes.length)) {
    if (passed() >= 1 || ended()) break;
    const struck = await strike(world, round, state, passed() < BEGINNING);
    state = await settled(world);
    struck.coordinator = state.coordinator ?? null;
    struck.well = state.well ?? null;
    done.push(struck);
    print(lineOf(world, struck, state));
    if (state.coordinator === undefined)
      world.found('coordinator', `round ${round.number}: none after ${RECOVERY_S} s`);
    if (state.well === undefined) {
      world.found('well', `round ${round.number}: after ${RECOVERY_S} s ${state.missing}`);
      break; // what follows would tell nothing
    }
    await Bun.sleep(round.pause * 1000);
    await resources.countHandles();
  }
  return done;
}

async function strike(world: World, round: Round, { who }: Settled, early: boolean): Promise<Struck> {
  const at = Date.now();
  const random = new Random(round.seed);
  const targets = resolve(world, round.planned, who?.node_id ?? '', early);
  const mends: (() => Promise<void>)[] = [];
  const told: Struck['faults'] = [];
  for (const { fault, node } of targets) {
    const { seconds } = round;
    const struck = await faults[fault].strike({ world, node, random, seconds });
    if (struck.mend) mends.push(struck.mend);
    told.push({
      name: fault,
      node: faults[fault].everywhere ? 'all' : node.id,
      ...(struck.told === undefined ? {} : { told: struck.told }),
    });
  }
  if (mends.length > 0) await Bun.sleep(round.seconds * 1000);
  for (const mend of mends) await mend();
  return { at, round: round.number, faults: told, seconds: round.seconds, coordinator: null, well: null };
}

/** Whom it hits: two faults hit two nodes, and what ends a daemon leaves the oldest one alone. */
function resolve(
  world: World,
  planned: Planned[],
  coordinator: string,
  early: boolean,
): { fault: FaultName; node: SoakNode }[] {
  const { nodes, oldest } = world;
  const first =
    planned[0]?.target === 'the coordinator' ? nodes.findIndex(({ id }) => id === coordinator) : 0;
  const used = new Set<SoakNode>();
  return planned.flatMap(({ fault, target }) => {
    if (fault === 'all daemons killed' && !early) return [];
    let index = target === 'the coordinator' ? first : first + target;
    const spared = (): boolean => {
      const node = nodes[index % nodes.length]!;
      return used.has(node) || (faults[fault].ends === true && !early && node === oldest);
    };
    while (spared()) index += 1;
    const node = nodes[index % nodes.length]!;
    used.add(node);
    return [{ fault, node }];
  });
}

function lineOf(
  world: World,
  { at, round, faults: hit, seconds, coordinator, well }: Struck,
  state: Settled,
): string {
  const what = hit.map(({ name, node, told }) => `${name}: ${node}${told ? ` (${told})` : ''}`).join(' + ');
  const found = (value: number | null): string => (value === null ? 'never' : `${value.toFixed(1)} s`);
  const who = state.who ? `${state.who.node_id}, term ${state.who.term}` : 'nobody';
  return `${world.clock(at).padStart(9)} #${round} ${what || 'nothing'}, ${seconds.toFixed(1)} s; then coordinator ${who} after ${found(coordinator)}, well after ${found(well)}`;
}
