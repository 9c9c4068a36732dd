/** How a change comes to the coordinator, and what that one looks at first, whatever store decides. */
import type { Cluster } from '../cluster/cluster.ts';
import type { CoordinatorSeen } from '../cluster/voter.ts';
import type { MemberList } from '../cluster/list.ts';
import type { Member } from '../cluster/member.ts';
import { SteepError } from '../lib/errors.ts';
import type { Decided, Proposal } from '../operations/coordination.ts';
import type { PeerClient } from '../rpc/client.ts';
import { propose } from '../rpc/propose.ts';

/** A change waits for a coordinator that is just being chosen, and for those who have to store it. */
export const DECIDE_MS = 8000;
const RETRY_MS = 100;

export interface Proposing {
  cluster: Cluster;
  clientOf: (id: string) => PeerClient | undefined;
  coordinator: () => CoordinatorSeen | undefined;
  decide: (clusterId: string, proposal: Proposal, node: Member | undefined) => Promise<Decided>;
  /** The list that another node's decision made. */
  take: (list: MemberList) => void;
  stopped: () => boolean;
}

/** Throws NOT_CONNECTED while there is no coordinator, and what that one answers. */
export async function change(
  proposing: Proposing,
  proposal: Proposal,
  node: Member | undefined,
): Promise<Decided> {
  const deadline = performance.now() + DECIDE_MS;
  let maybeDone = false;
  for (;;) {
    try {
      return await tryChange(proposing, proposal, node);
    } catch (thrown) {
      const error = SteepError.from(thrown);
      const { cluster } = proposing;
      // A coordinator that ended may have got it through before: then there is nothing left to do.
      if (maybeDone && isDone(cluster, proposal)) return { term: cluster.list.term, list: cluster.list };
      maybeDone = true;
      const waits = error.code === 'NOT_CONNECTED' || error.code === 'CANNOT_CONNECT';
      if (!waits || proposing.stopped() || performance.now() > deadline) throw error;
    }
    if (proposing.cluster.id === null)
      throw new SteepError('NOT_CONNECTED', 'this node belongs to no cluster yet');
    await Bun.sleep(RETRY_MS);
  }
}

/** Of those that are refused when they are asked for again. */
function isDone(cluster: Cluster, { kind, node_id: id }: Proposal): boolean {
  const listed = cluster.listed(id);
  if (!listed) return false;
  if (kind === 'remove') return listed.state === 'removed';
  return kind === 'readmit' && listed.state !== 'removed' && listed.vote !== 'suspended';
}

/** What the coordinator refuses before it changes anything; keeps the facts of a node that is to be let in. */
export function examine(
  cluster: Cluster,
  clusterId: string,
  proposal: Proposal,
  node: Member | undefined,
): void {
  if (clusterId !== cluster.id)
    throw new SteepError('CONFLICT', `${cluster.self.node_id} belongs to cluster ${cluster.id ?? 'none'}`);
  if (proposal.kind === 'admit') {
    cluster.refuseUnwanted(proposal.node_id);
    if (node && node.node_id !== proposal.node_id)
      throw new SteepError('INVALID_REQUEST', `node: is ${node.node_id}, not ${proposal.node_id}`);
    cluster.refuseSecondCopy(proposal.node_id, proposal.instance_id);
    if (node) cluster.register(node);
  }
  if (proposal.kind === 'remove' && proposal.node_id === cluster.self.node_id)
    throw new SteepError('CONFLICT', `${proposal.node_id} coordinates: it cannot be removed`, {
      hint: 'steep-repl coordinator transfer ID, then try again',
    });
}

async function tryChange(
  { cluster, clientOf, coordinator, decide, take }: Proposing,
  proposal: Proposal,
  node: Member | undefined,
): Promise<Decided> {
  const known = coordinator();
  if (known === undefined)
    throw new SteepError('NOT_CONNECTED', 'the cluster has no coordinator at the moment', {
      hint: 'steep-repl status says why',
    });
  if (known.node_id === cluster.self.node_id) return await decide(cluster.id ?? '', proposal, node);
  const client = clientOf(known.node_id);
  if (!client) throw new SteepError('NOT_CONNECTED', `${known.node_id} cannot be dialled yet`);
  const decided = await propose(client, cluster.id ?? '', proposal, node, DECIDE_MS);
  take(decided.list);
  return decided;
}
