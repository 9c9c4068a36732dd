/** The disk under a daemon's state_dir, or under a PostgreSQL, is full. */
import { fillDisk, freeDisk } from '../disks.ts';
import { POSTGRESQL_DISK, STATE_DISK } from '../limits.ts';
import type { TestPostgres } from '../../support/postgres.ts';
import type { Fault } from './fault.ts';
import { transfer } from './operator.ts';

async function answers(server: TestPostgres): Promise<boolean> {
  return await server.query('CHECKPOINT').then(
    () => true,
    () => false,
  );
}

export const diskFaults = {
  'state_dir full': {
    async strike({ node: { node }, world, random }) {
      fillDisk(node.home.stateDir);
      // Nothing would want to be stored otherwise.
      const told = `coordinator ${await transfer(world, random, random.of(world.nodes))}`;
      return { told, mend: async () => freeDisk(node.home.stateDir, STATE_DISK) };
    },
  },
  'disk of PostgreSQL full': {
    async strike({ node: { server } }) {
      fillDisk(server.base);
      return {
        async mend() {
          freeDisk(server.base, POSTGRESQL_DISK);
          // It starts anew by itself after a panic, but ends when that finds the disk full, too.
          while (server.running && !(await answers(server))) await Bun.sleep(100);
          if (!server.running) await server.start();
        },
      };
    },
  },
} satisfies Record<string, Fault>;
