/** Memory and handles, against what they were at first. */
import { HANDLES_MORE, MEMORY_GROWTH_MB, MEMORY_MB, WARM_MS } from '../limits.ts';
import { median } from '../../bench/harness.ts';
import type { Resources } from '../resources.ts';
import type { World } from '../world.ts';

/** Of a quarter: fewer would be chance. */
const LEAST_SAMPLES = 10;

export interface LifeResources {
  node: string;
  pid: number;
  minutes: number;
  /** Megabytes: the medians of the first and of the last quarter once it is warm, if it lived so long. */
  memory: { first: number; last: number } | null;
  peak: number;
  handles: { first: number; last: number; most: number } | null;
}

/** The longest life of each node; every one is judged. */
export function checkResources(world: World, resources: Resources): LifeResources[] {
  return world.nodes.map((node) => {
    const lives = node.lives.flatMap((life) => {
      const samples = resources.memory.get(life) ?? [];
      if (samples.length === 0) return [];
      const values = samples.map(({ memory }) => memory);
      const warm = samples.filter(({ at }) => at > samples[0]!.at + WARM_MS).map(({ memory }) => memory);
      const quarter = Math.floor(warm.length / 4);
      const handles = resources.handles.get(life) ?? [];
      const measured: LifeResources = {
        node: node.id,
        pid: life.daemon.pid,
        minutes: (samples.at(-1)!.at - samples[0]!.at) / 60_000,
        memory:
          quarter < LEAST_SAMPLES
            ? null
            : { first: median(warm.slice(0, quarter)), last: median(warm.slice(-quarter)) },
        peak: Math.max(...values),
        handles:
          handles.length === 0
            ? null
            : { first: handles[0]!, last: handles.at(-1)!, most: Math.max(...handles) },
      };
      judge(world, measured);
      return [measured];
    });
    return lives.reduce((a, b) => (b.minutes > a.minutes ? b : a));
  });
}

function judge(world: World, { node, pid, minutes, memory, peak, handles }: LifeResources): void {
  const name = `${node}, pid ${pid}`;
  if (peak > MEMORY_MB) world.found('memory', `${name}: ${peak.toFixed(0)} MB`);
  if (memory && memory.last - memory.first > MEMORY_GROWTH_MB)
    world.found(
      'memory',
      `${name}: from ${memory.first.toFixed(0)} to ${memory.last.toFixed(0)} MB in ${minutes.toFixed(0)} min`,
    );
  if (handles && handles.last > handles.first + HANDLES_MORE)
    world.found('handles', `${name}: ${handles.last} open handles, ${handles.first} at first`);
}
