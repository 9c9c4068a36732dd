/**
 * The rules that keep two coordinators apart, each by itself, so that each can be read, argued about, and taken
 * away by the simulation (test/simulation), which must then find two coordinators.
 *
 * Why one lease excludes the other: a coordinator counts its lease from the sending of what a majority answered,
 * less than a voter promises from the receipt. Who wants to be the next one needs votes of a majority, and two
 * majorities share a voter; that voter votes only after its promise ran out, and so after the lease did.
 */
import { compare, type Listed, type MemberList, type Version, voters } from './list.ts';

/** A moment by two clocks: one that never goes back but stands still while the machine sleeps, and the wall's. */
export interface Moment {
  /** Milliseconds. */
  monotonic: number;
  /** Milliseconds since 1970. */
  wall: number;
}

/** What a voter promised a coordinator. */
export interface Promised {
  to: string;
  term: number;
  /** Of the monotonic clock. */
  until: number;
}

export interface Vote {
  node_id: string;
  instance_id: string;
}

/** Clocks of two machines may differ in speed: a coordinator counts on less than it was promised. */
const CLOCK_MARGIN = 0.1;

export const rules = {
  /** After a start: what was promised before it is not remembered, so nothing is granted while it could count. */
  silence: (longestPromise: number): number => longestPromise,

  /**
   * While a voter does not know whether its state is an old copy: the earlier run, of which an old copy knows nothing,
   * may have voted for somebody else than who asks now. Whoever reigned by that is done, or lives by others, when it
   * got nothing from this voter for a lease. An old copy may say that it never promised anything.
   */
  hesitation: (longestPromise: number, lease: number): number => Math.max(longestPromise, lease),

  /** Never counted from the answer, which comes later than what the coordinator counts from: the sending. */
  promisedUntil: (received: Moment, lease: number): number => received.monotonic + lease,

  /** Whether a promise keeps a voter from granting somebody's wish. To renew one's own term is no breach. */
  isBound: (promise: Promised | undefined, candidate: string, now: Moment): boolean =>
    promise !== undefined && promise.to !== candidate && now.monotonic < promise.until,

  /** One vote a term, and only for one living copy of a node. */
  hasVotedOtherwise: (vote: Vote | null, candidate: Vote): boolean =>
    vote !== null && (vote.node_id !== candidate.node_id || vote.instance_id !== candidate.instance_id),

  /** Only terms that nobody left behind. */
  isPast: (term: number, ownTerm: number): boolean => term < ownTerm,

  /** Who has an older list than a voter may count other voters than the cluster does. */
  isOutdated: (candidates: Version, own: Version): boolean => compare(candidates, own) < 0,

  /**
   * Who is believed that brings a newer list than the own one: whom the own list names. A removed one is among them
   * until its removal is known to be done (`seal`): the own list may be what a coordinator did not get through, and
   * without the removed one there may be no majority. After that it is a stranger, who could bring any list; so is who
   * was never named. If a stranger was let in meanwhile, others know it, and who hears no coordinator asks them.
   * `named`: whether the own list names the own copy. If not, nobody asks it for anything, and it may know nobody.
   */
  believes: (bringer: Listed | undefined, named: boolean): boolean =>
    !named || (bringer !== undefined && (bringer.state !== 'removed' || bringer.instance_id !== '')),

  /** By whichever clock went further: a machine that slept wakes without its lease. */
  elapsed: (since: Moment, now: Moment): number =>
    Math.max(now.monotonic - since.monotonic, now.wall - since.wall),

  /** A coordinator's lease begins when it asked, not when it was answered: the promise may be older than the answer. */
  countsFrom: (asked: Moment, _answered: Moment): Moment => asked,

  /** How long a coordinator may count on what was promised for `lease`. */
  counted: (lease: number): number => lease * (1 - CLOCK_MARGIN),

  /** Nothing is done, and no answer given, as coordinator unless the lease runs at that moment. */
  mayAct: (leaseRuns: boolean): boolean => leaseRuns,

  /** The node itself counts; so do voters that cannot be reached. */
  quorum: (list: MemberList): number => Math.floor(voters(list).length / 2) + 1,

  /** While a change is not stored by both majorities, both decide. */
  deciding: (list: MemberList, before: MemberList | undefined): MemberList[] =>
    before === undefined ? [list] : [before, list],

  /** A coordinator changes nothing before a majority has its own term: what one before it left is settled then. */
  mayChange: (confirmed: boolean): boolean => confirmed,

  /** A release is for one promise: that of this term, to the coordinator that gives it back. */
  releases: (promise: Promised | undefined, from: string, term: number): boolean =>
    promise?.to === from && promise.term === term,

  /** Answers of another copy of a voter are not that voter's. */
  speaksFor: (listed: { instance_id: string } | undefined, instance: string): boolean =>
    listed?.instance_id === instance,
};

export type Rules = typeof rules;
