/** What operations and doors ask of those who decide about the cluster, whatever store they decide by. */
import type { CoordinatorSeen } from '../cluster/voter.ts';
import type { Change, MemberList } from '../cluster/list.ts';
import type { Member } from '../cluster/member.ts';
import type { Answer, Request } from '../cluster/messages.ts';

/** A change of the list, or a handover. */
export type Proposal = Change | { kind: 'transfer'; node_id: string };

export interface Decided {
  term: number;
  list: MemberList;
}

export interface Coordination {
  /** The highest term heard of. */
  readonly term: number;
  /** The coordinator as this node knows it at this moment. */
  readonly coordinator: CoordinatorSeen | undefined;
  /** Ids of those whose votes count, reachable or not. */
  voters(): string[];
  /**
   * Has the coordinator do it, here or elsewhere; done when majorities have stored it. `node`: the facts of a node
   * that is to be admitted. Throws NOT_CONNECTED while there is no coordinator, and what that one answers.
   */
  change(proposal: Proposal, node?: Member): Promise<Decided>;
  /** As `change`, but only if this node coordinates: what a peer proposes. */
  decide(clusterId: string, proposal: Proposal, node: Member | undefined): Promise<Decided>;
  /** Answers what another node asks as voter, follower or coordinator. */
  handle(from: string, request: Request): Answer;
}
