/** The daemon's process dies, stops, or stands still. */
import { STOP_LIMIT_S } from '../limits.ts';
import type { Fault } from './fault.ts';

export const processFaults = {
  'daemon killed': {
    ends: true,
    async strike({ node }) {
      await node.kill();
      return { mend: async () => node.start() };
    },
  },
  'daemon killed thrice': {
    ends: true,
    async strike({ node, random }) {
      for (let i = 0; i < 2; i += 1) {
        await node.kill();
        node.start();
        await Bun.sleep(random.between(20, 1500));
      }
      await node.kill();
      return { mend: async () => node.start() };
    },
  },
  'daemon stopped': {
    ends: true,
    async strike({ node, world }) {
      const began = Date.now();
      const code = await node.stop();
      const took = (Date.now() - began) / 1000;
      if (code !== 0) world.found('ends', `${node.id} was told to stop, and ended with ${code}`);
      if (took > STOP_LIMIT_S) world.found('ends', `${node.id} took ${took.toFixed(1)} s to stop`);
      return { told: `it took ${took.toFixed(1)} s`, mend: async () => node.start() };
    },
  },
  'daemon hangs': {
    async strike({ node }) {
      node.hang();
      return { mend: async () => node.goOn() };
    },
  },
  'all daemons killed': {
    ends: true,
    alone: true,
    everywhere: true,
    async strike({ world }) {
      await Promise.all(world.nodes.map((node) => node.kill()));
      return {
        async mend() {
          for (const node of world.nodes) node.start();
        },
      };
    },
  },
} satisfies Record<string, Fault>;
