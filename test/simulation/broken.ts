/**
 * Each rule of safety taken away, or replaced by what somebody might take for good enough. Not among them, since chance
 * meets no schedule that needs them soon enough: `hesitation`, for which one is written down in
 * test/unit/cluster/rules.test.ts; and that an old copy's writes do not count (test/unit/daemon/own-state.test.ts),
 * which one schedule in a million needed.
 */
import type { Rules } from '../../src/cluster/rules.ts';
import type { Faults } from './node.ts';

export interface Broken {
  rules?: Partial<Rules>;
  faults?: Faults;
}

export const broken: Record<string, Broken> = {
  'a vote is on disk before it is told': { faults: { forgetsVotes: true } },
  'an old copy of the state does not vote': { faults: { trustsOldCopies: true } },
  'silence after a start': { rules: { silence: () => 0 } },
  'a promise binds': { rules: { isBound: () => false } },
  'the promise is as long as the lease': {
    rules: { promisedUntil: (received, lease) => received.monotonic + lease * 0.8 },
  },
  'the lease counts from the asking': { rules: { countsFrom: (_asked, answered) => answered } },
  'a margin for clocks': { rules: { counted: (lease) => lease } },
  'both clocks count': { rules: { elapsed: (since, now) => now.monotonic - since.monotonic } },
  'one vote a term': { rules: { hasVotedOtherwise: () => false } },
  'terms only grow': { rules: { isPast: () => false } },
  'no vote for an older list': { rules: { isOutdated: () => false } },
  'a majority': { rules: { quorum: (list) => Math.max(1, Math.floor(list.nodes.length / 2)) } },
  'no list from strangers': { rules: { believes: () => true } },
  'both lists decide about a change': { rules: { deciding: (list) => [list] } },
  'the own term first': { rules: { mayChange: () => true } },
  'the lease before each act': { rules: { mayAct: () => true } },
  'a release is for one promise': { rules: { releases: () => true } },
  'a vote is of one copy': { rules: { speaksFor: () => true } },
};
