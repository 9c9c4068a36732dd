/**
 * The voter in every node: what it promised to whom, and what it grants. It follows one coordinator at a time, for
 * as long as it promised; it votes once a term, and never while a promise binds it.
 *
 * Nothing is granted before it is on disk, nor in the first moments after a start, when promises are forgotten that
 * may still count, nor while it is not certain that the disk is no old copy.
 */
import { compare, find, type MemberList, type Version } from './list.ts';
import type { Answer, Request } from './messages.ts';
import type { Moment, Promised, Rules } from './rules.ts';
import type { ClusterState, Durable } from './state.ts';

export interface CoordinatorSeen {
  node_id: string;
  term: number;
  /** Milliseconds since 1970. */
  since: number;
}

export const UNSURE = 'it does not know yet whether its state is an old copy';

export interface VoterOptions {
  id: string;
  state: Durable;
  clock: () => Moment;
  rules: Rules;
  /** Whether this node could coordinate. */
  isHealthy: () => boolean;
}

export class Voter {
  /** Nothing is granted before this moment of the monotonic clock. */
  readonly silentUntil: number;
  private readonly options: VoterOptions;
  private promise: Promised | undefined;
  private followed: CoordinatorSeen | undefined;
  private trusted = false;
  /** Of the monotonic clock. */
  private readonly started: number;
  private readonly hesitation: (lease: number) => number;

  constructor(options: VoterOptions) {
    this.options = options;
    const { rules, clock, state } = options;
    this.started = clock().monotonic;
    const { longest_promise: longest } = state.current;
    this.silentUntil = this.started + rules.silence(longest);
    this.hesitation = (lease) => rules.hesitation(longest, lease);
  }

  private get state(): Readonly<ClusterState> {
    return this.options.state.current;
  }

  private get now(): Moment {
    return this.options.clock();
  }

  /** The state on disk was found to be no old copy. */
  trust(): void {
    this.trusted = true;
  }

  /** Whether it must not even promise a coordinator its `lease`: the state may be an old copy. */
  isUnsure(lease: number): boolean {
    return !this.trusted && this.now.monotonic < this.started + this.hesitation(lease);
  }

  /** Whether this node counts in majorities, and knows that it does. */
  get counts(): boolean {
    const listed = find(this.state.list, this.options.id);
    return this.trusted && listed?.vote === 'yes' && listed.instance_id === this.state.instance_id;
  }

  /** Whether this node belongs, as far as it knows. */
  get belongs(): boolean {
    return this.knows(this.options.id, this.state.instance_id);
  }

  /** Whether a promise keeps it from voting for this node. */
  isBound(candidate: string): boolean {
    return this.options.rules.isBound(this.promise, candidate, this.now);
  }

  /** Whom it follows, while the promise runs. */
  get coordinator(): CoordinatorSeen | undefined {
    if (!this.promise || this.now.monotonic >= this.promise.until) return undefined;
    return this.followed?.term === this.promise.term ? this.followed : undefined;
  }

  /** End of the promise that runs, of the monotonic clock. */
  get boundUntil(): number | undefined {
    return this.promise?.until;
  }

  /** The node itself coordinates: its own vote counts, so it promises too. Throws what the disk throws. */
  promiseSelf(term: number, lease: number): void {
    if (lease > this.state.longest_promise) this.options.state.update({ longest_promise: lease });
    const until = this.options.rules.promisedUntil(this.now, lease);
    this.promise = { to: this.options.id, term, until };
  }

  /** No promise binds any more. */
  free(): void {
    this.promise = undefined;
  }

  /** As after a start in another cluster. */
  startOver(): void {
    this.promise = undefined;
    this.followed = undefined;
  }

  /** Once: the coordinator that was followed and is not heard any more. */
  lost(): CoordinatorSeen | undefined {
    const { followed, promise } = this;
    if (!followed) return undefined;
    if (promise?.to === followed.node_id && this.now.monotonic < promise.until) return undefined;
    this.followed = undefined;
    return followed;
  }

  /** Why a request is none of ours; undefined if it is. */
  stranger(from: string, request: Request): string | undefined {
    if (request.cluster_id !== this.state.cluster_id) return 'another cluster';
    if (request.kind === 'release') return undefined; // it is for a promise, or for nothing
    const { rules } = this.options;
    const listed = find(this.state.list, from);
    // Whoever has a newer list may know better: the own one may be what a coordinator did not get through.
    if (compare(listOf(request), this.state.list) > 0 && rules.believes(listed, this.belongs))
      return undefined;
    if (!listed || listed.state === 'removed') return `${from} does not belong`;
    if (!rules.speaksFor(listed, request.instance_id)) return `another copy of ${from}`;
    return listed.vote === 'yes' ? undefined : `${from} does not vote`;
  }

  /** Why a vote is refused; undefined if it would be granted. */
  objection(from: string, request: Request & { kind: 'vote' }): string | undefined {
    const { rules } = this.options;
    const { list, term, vote } = this.state;
    if (!this.trusted) return UNSURE;
    if (this.now.monotonic < this.silentUntil) return 'it has just started';
    if (this.isBound(from)) return `it follows ${this.promise?.to}`;
    if (rules.isOutdated(request.list, list)) return 'it has a newer list';
    if (rules.isPast(request.term, term)) return 'it knows a newer term';
    const candidate = { node_id: from, instance_id: request.instance_id };
    return request.term === term && rules.hasVotedOtherwise(vote, candidate)
      ? 'it voted for another node'
      : undefined;
  }

  /** Gives the vote. Throws what the disk throws. */
  give(from: string, { term, instance_id }: { term: number; instance_id: string }): void {
    this.options.state.update({ term, vote: { node_id: from, instance_id } });
  }

  /**
   * Promises a coordinator its lease, takes its term and list; whether it is another coordinator than before, and
   * whether the list is. Throws what the disk throws: then nothing was promised.
   */
  follow(from: string, request: Request & { kind: 'renew' }): { coordinator: boolean; list: boolean } {
    const received = this.now;
    const { term, list, longest_promise } = this.state;
    const newer = request.list && compare(request.list, list) > 0 ? request.list : undefined;
    const changes: Partial<ClusterState> = {
      ...(request.term > term
        ? { term: request.term, vote: { node_id: from, instance_id: request.instance_id } }
        : {}),
      ...(newer ? { list: newer } : {}),
      ...(request.lease > longest_promise ? { longest_promise: request.lease } : {}),
    };
    if (Object.keys(changes).length > 0) this.options.state.update(changes);
    const until = this.options.rules.promisedUntil(received, request.lease);
    const before = this.promise?.to === from ? this.promise.until : 0;
    this.promise = { to: from, term: request.term, until: Math.max(until, before) };
    const another = this.followed?.node_id !== from || this.followed.term !== request.term;
    if (another) this.followed = { node_id: from, term: request.term, since: request.since };
    return { coordinator: another, list: newer !== undefined };
  }

  /** Gives a promise back; whether there was one to give. */
  release(from: string, { term }: Request & { kind: 'release' }): boolean {
    if (!this.options.rules.releases(this.promise, from, term)) return false;
    this.promise = undefined;
    return true;
  }

  /** To a stranger: nothing of ours is its business; terms belong to a cluster. Who belongs is told the list. */
  refuse(from: string, request: Request, reason: string): Answer {
    const belongs = request.cluster_id === this.state.cluster_id && this.knows(from, request.instance_id);
    const theirs = belongs && request.kind !== 'release' ? listOf(request) : undefined;
    return { ...this.answer(reason, theirs), term: 0 };
  }

  /** Whether the own list names this copy. */
  private knows(id: string, instance: string): boolean {
    const listed = find(this.state.list, id);
    return listed?.state !== 'removed' && this.options.rules.speaksFor(listed, instance);
  }

  /** `theirs`: the list of who asked, who is told the own one where that is newer. */
  answer(reason: string | undefined, theirs?: Version): Answer {
    const { term, instance_id, list } = this.state;
    return {
      granted: reason === undefined,
      reason: reason ?? '',
      term,
      instance_id,
      version: versionOf(list),
      newer: theirs !== undefined && compare(list, theirs) > 0 ? list : undefined,
      healthy: this.options.isHealthy(),
    };
  }
}

function listOf(request: Exclude<Request, { kind: 'release' }>): Version {
  return request.kind === 'vote' ? request.list : request.version;
}

export function versionOf({ term, number }: Version | MemberList): Version {
  return { term, number };
}
