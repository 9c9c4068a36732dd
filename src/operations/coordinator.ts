import { z } from 'zod';
import { operation } from './operation.ts';
import type { CoordinatorView, Subject } from './subject.ts';

export interface CoordinatorInfo extends CoordinatorView {
  lease_ms: number;
  /** Ids of those whose votes count. */
  voters: string[];
  /** Those of them that answer, this node included. */
  reachable_voters: string[];
}

export const coordinatorGet = operation({
  params: z.object({}),
  changes: false,
  run: (_params, { subject }): CoordinatorInfo => infoOf(subject),
});

export const coordinatorTransfer = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: true,
  /** Answers when the coordinator has handed over; that the other one has taken over is seen a moment later. */
  async run({ node_id }, { subject }): Promise<CoordinatorInfo> {
    await subject.coordination.change({ kind: 'transfer', node_id });
    return infoOf(subject);
  },
});

function infoOf(subject: Subject): CoordinatorInfo {
  const voters = subject.coordination.voters();
  const { cluster } = subject;
  const silent = new Set(
    cluster
      .peers()
      .filter(({ seen }) => seen === 'unreachable' || seen === 'unknown')
      .map(({ member }) => member.node_id),
  );
  return {
    ...subject.coordinator(),
    lease_ms: subject.config().election.lease,
    voters,
    reachable_voters: voters.filter((id) => !silent.has(id)),
  };
}
