/** Memory and open handles of each life of a daemon, as the kernel counts them. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Life, World } from './world.ts';

const EVERY_MS = 2000;

export interface Sample {
  at: number;
  /** Megabytes resident. */
  memory: number;
}

export class Resources {
  readonly memory = new Map<Life, Sample[]>();
  /** Counted while all was quiet. */
  readonly handles = new Map<Life, number[]>();
  private readonly world: World;
  private readonly timer: NodeJS.Timeout;

  constructor(world: World) {
    this.world = world;
    this.timer = setInterval(() => this.sample(), EVERY_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** The least of a few counts: somebody may be asking something just now. */
  async countHandles(): Promise<void> {
    for (const { life } of this.world.nodes) {
      const counts: number[] = [];
      for (let i = 0; i < 5; i += 1) {
        try {
          counts.push(readdirSync(`/proc/${life.daemon.pid}/fd`).length);
        } catch {
          return; // it ended by itself: the watch tells
        }
        await Bun.sleep(40);
      }
      const list = this.handles.get(life) ?? [];
      this.handles.set(life, list);
      list.push(Math.min(...counts));
    }
  }

  private sample(): void {
    for (const { life } of this.world.nodes) {
      if (life.to !== undefined) continue;
      try {
        const status = readFileSync(`/proc/${life.daemon.pid}/status`, 'utf8');
        const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? NaN);
        if (Number.isNaN(kilobytes)) continue;
        const list = this.memory.get(life) ?? [];
        this.memory.set(life, list);
        list.push({ at: Date.now(), memory: kilobytes / 1024 });
      } catch {
        // it ended just now
      }
    }
  }
}
