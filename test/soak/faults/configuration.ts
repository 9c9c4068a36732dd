/** The configuration is read again, good or broken; the password of the daemons' role changes. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { waitFor } from '../../support/wait.ts';
import { editConfig } from '../cluster.ts';
import { DAEMON_ROLE, NOTICE_MS } from '../limits.ts';
import type { SoakNode, World } from '../world.ts';
import type { Fault } from './fault.ts';

const TAKEN = 'configuration reloaded';
const REFUSED = 'configuration not reloaded; the running one stays in force';

export const configurationFaults = {
  'configuration reloaded': {
    alone: true,
    async strike({ node, world, random }) {
      const minutes = 10 + random.below(1000);
      editConfig(node.node, (repl) => (repl['audit'] = { prune_interval: `${minutes}m` }));
      await hup(world, node, TAKEN);
      return {};
    },
  },
  'broken configuration': {
    alone: true,
    async strike({ node, world, random }) {
      const { home } = node.node;
      const good = readFileSync(home.configFile, 'utf8');
      home.writeRaw(random.of(['repl: [', 'repl:\n  nod_id: x\n', '']));
      await hup(world, node, REFUSED);
      return {
        async mend() {
          home.writeRaw(good);
          await hup(world, node, TAKEN);
        },
      };
    },
  },
  'password changed': {
    alone: true,
    everywhere: true,
    async strike({ world }) {
      const password = randomBytes(12).toString('hex');
      world.secrets.push(password);
      for (const { server } of world.nodes)
        await server.query(`ALTER ROLE ${DAEMON_ROLE} PASSWORD '${password}'`);
      writeFileSync(world.passwordFile, password);
      return {};
    },
  },
} satisfies Record<string, Fault>;

async function hup(world: World, { id, life: { daemon } }: SoakNode, answer: string): Promise<void> {
  const before = daemon.count(answer);
  daemon.signal('SIGHUP');
  await waitFor(() => daemon.count(answer) > before, answer, NOTICE_MS).catch(() =>
    world.found('nothing', `${id} was sent SIGHUP and did not say '${answer}'`),
  );
}
