/** What operators do: hand the coordinator over, take nodes out of service and back. */
import { waitFor } from '../../support/wait.ts';
import type { Random } from '../../simulation/random.ts';
import { request } from '../ipc.ts';
import { RECOVERY_S } from '../limits.ts';
import type { SoakNode, World } from '../world.ts';
import type { Fault } from './fault.ts';

/** A change is decided within 10 s, or refused. */
const DECIDE_MS = 30_000;

export const operatorActs = {
  'coordinator transferred': {
    alone: true,
    async strike({ node, world, random }) {
      return { told: await transfer(world, random, node) };
    },
  },
  'node offline': {
    alone: true,
    async strike({ node, world, random }) {
      const others = world.nodes.filter((one) => one !== node);
      const asked = random.of(others);
      const { error } = await setStatus(asked, node.id, 'offline');
      // Whoever is told of a failure does not know: it may have been done, or come yet.
      if (!error) world.offline = node.id;
      // Nothing that happens to another node ends it.
      const victim = others.find((one) => one !== asked && one !== world.oldest);
      if (victim) {
        await victim.kill();
        victim.start();
      }
      return {
        told: `asked of ${asked.id}: ${error?.message ?? 'done'}${victim ? `, and ${victim.id} killed` : ''}`,
        async mend() {
          let last = '';
          await waitFor(
            async () => {
              world.offline = undefined;
              last = (await setStatus(asked, node.id, 'online')).error?.message ?? '';
              return last === '';
            },
            'the node to be online',
            RECOVERY_S * 1000,
          ).catch(() => world.found('well', `${node.id} could not be set online: ${last}`));
        },
      };
    },
  },
} satisfies Record<string, Fault>;

/** To this node, or to another one if it coordinates already; what came of it. */
export async function transfer(world: World, random: Random, wished: SoakNode): Promise<string> {
  const asked = random.of(world.nodes);
  const { result } = await request(asked.node.home.socket, 'coordinator.get');
  const others = world.nodes.filter(({ id }) => id !== result?.node_id);
  const to = others.includes(wished) ? wished : random.of(others);
  const params = { node_id: to.id };
  const { error } = await request(asked.node.home.socket, 'coordinator.transfer', params, DECIDE_MS);
  return `to ${to.id}, asked of ${asked.id}: ${error?.message ?? 'done'}`;
}

async function setStatus(
  asked: SoakNode,
  id: string,
  status: 'offline' | 'online',
): ReturnType<typeof request> {
  return await request(asked.node.home.socket, 'nodes.set_status', { node_id: id, status }, DECIDE_MS);
}
