/** The line of a node is cut. */
import type { Cut } from '../../support/network.ts';
import type { Fault } from './fault.ts';

const cut = (how: Cut): Fault => ({
  async strike({ node: { node } }) {
    node.host.cut(how);
    return { mend: async () => node.host.mend() };
  },
});

export const networkFaults = {
  'line cut': cut('both ways'),
  'line deaf': cut('deaf'),
  'line mute': cut('mute'),
  'line lossy': cut('lossy'),
  'line to one other cut': {
    async strike({ node: { id, node }, world, random }) {
      const other = random.of(world.nodes.filter((one) => one.id !== id));
      node.host.cutFrom(other.node.host);
      return { told: `to ${other.id}`, mend: async () => node.host.mend() };
    },
  },
} satisfies Record<string, Fault>;
