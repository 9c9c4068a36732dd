/** Asks the coordinator to change the list, or to hand over. */
import type { Member } from '../cluster/member.ts';
import { SteepError } from '../lib/errors.ts';
import type { Decided, Proposal } from '../operations/coordination.ts';
import type { PeerClient } from './client.ts';
import { toMemberInfo } from './convert.ts';
import { listFrom } from './convert-election.ts';

/** Throws what the coordinator answers. */
export async function propose(
  client: PeerClient,
  clusterId: string,
  proposal: Proposal,
  node: Member | undefined,
  timeoutMs: number,
): Promise<Decided> {
  const { kind, node_id: nodeId } = proposal;
  const admission =
    proposal.kind === 'admit'
      ? { instanceId: proposal.instance_id, role: proposal.role, votes: proposal.votes }
      : {};
  const request = { clusterId, kind, nodeId, ...admission, ...(node ? { node: toMemberInfo(node) } : {}) };
  const { term, list } = await client.call(
    ({ election }, options) => election.propose(request, options),
    timeoutMs,
  );
  if (!list) throw new SteepError('FAILED', `${client.address} answered without a list`);
  return { term: Number(term), list: listFrom(list) };
}
