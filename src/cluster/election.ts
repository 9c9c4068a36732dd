/**
 * Who coordinates. A node is one of these:
 *
 *   follower ──its turn came──► candidate ──majority of votes──► coordinator
 *       ▲                          │ no majority                      │ lease ran out, newer term,
 *       └──────────────────────────┴──────────────────────────────────┘ resigned
 *
 * A follower waits while it is bound by a promise; when the promise has run out it waits a little longer, the
 * better node less than the worse, and becomes a candidate if it may: a voter with a PostgreSQL that works. A
 * candidate first asks whether it could win (a trial, which changes nothing anywhere), then takes the next term
 * and asks for votes. A coordinator reigns (reign.ts) by a lease that a majority renews; it is shown as one, and
 * acts as one, only while the lease runs.
 *
 * Pure: clocks, chance, disk and network are passed in. `tick` is to be called often; requests leave by `send`,
 * their answers come back by `answered`, or never. The rules of safety are in rules.ts.
 */
import { SteepError } from '../lib/errors.ts';
import { type Change, compare, find, type MemberList, type Version, voters } from './list.ts';
import type { Answer, Request } from './messages.ts';
import { type Done, Reign } from './reign.ts';
import { type Moment, type Promised, type Rules, rules as allRules } from './rules.ts';
import type { ClusterState, Durable } from './state.ts';

export interface ElectionSettings {
  /** Milliseconds. */
  lease: number;
  interval: number;
  twoNode: 'safe' | 'promote';
}

/** Whether this node may coordinate at the moment, and after how many better ones. */
export interface Standing {
  healthy: boolean;
  rank: number;
}

export interface ElectionOptions {
  id: string;
  state: Durable;
  clock: () => Moment;
  /** 0 to 1. */
  random: () => number;
  settings: () => ElectionSettings;
  standing: () => Standing;
  /** Whether a node has been silent so long that it counts as dead: asked with `twoNode: promote` alone. */
  isSilent: (id: string) => boolean;
  send: (to: string, request: Request) => void;
  /** Something that is shown is different now. */
  onChange?: (what: ElectionEvent) => void;
  rules?: Rules;
}

export type ElectionEvent =
  | { kind: 'standing'; term: number }
  | { kind: 'elected'; term: number }
  | { kind: 'ended'; term: number; reason: string }
  | { kind: 'followed'; term: number; node_id: string }
  | { kind: 'lost'; term: number; node_id: string }
  | { kind: 'list' };

export interface CoordinatorSeen {
  node_id: string;
  term: number;
  /** Milliseconds since 1970. */
  since: number;
}

type Role =
  | { kind: 'follower' }
  | { kind: 'candidate'; trial: boolean; term: number; granted: Set<string>; until: number }
  | { kind: 'coordinator'; reign: Reign };

/** Between those who may stand, so that the better one is through before the next one tries. */
const RANK_MS = 200;
const JITTER_MS = 100;
/** Until a candidate gives up, and those who voted for another stand themselves. */
const ROUND_MS = 1000;
const MOST_DOUBLINGS = 4;

export class Election {
  private readonly options: ElectionOptions;
  private readonly rules: Rules;
  private role: Role = { kind: 'follower' };
  private promise: Promised | undefined;
  private seen: CoordinatorSeen | undefined;
  /** Nothing is granted before this moment of the monotonic clock. */
  private readonly silentUntil: number;
  private standAt: number;
  /** False until it is certain that the state on disk is not an old copy. */
  private trusted = false;
  /** Since when this coordinator cannot do its work, of the monotonic clock. */
  private unfitSince: number | undefined;
  /** Attempts to be elected since there was a coordinator. */
  private vain = 0;

  constructor(options: ElectionOptions) {
    this.options = options;
    this.rules = options.rules ?? allRules;
    const now = options.clock().monotonic;
    this.silentUntil = now + this.rules.silence(options.state.current.longest_promise);
    this.standAt = this.silentUntil + this.delay();
  }

  private get now(): Moment {
    return this.options.clock();
  }

  private get state(): Readonly<ClusterState> {
    return this.options.state.current;
  }

  /** The coordinator as this node knows it: itself while its lease runs, another while the promise to it does. */
  get coordinator(): CoordinatorSeen | undefined {
    if (this.role.kind === 'coordinator') return this.role.reign.holds() ? this.role.reign.seen : undefined;
    if (!this.promise || this.now.monotonic >= this.promise.until) return undefined;
    return this.seen?.term === this.promise.term ? this.seen : undefined;
  }

  /** Whether this node coordinates, at this very moment. */
  get reigns(): boolean {
    return this.role.kind === 'coordinator' && this.role.reign.holds();
  }

  /** Whether the state on disk was found to be no old copy: only then this node votes. */
  trust(): void {
    this.trusted = true;
  }

  get mayVote(): boolean {
    const listed = find(this.state.list, this.options.id);
    return this.trusted && listed?.vote === 'yes' && listed.instance_id === this.state.instance_id;
  }

  /** Gives up all that belongs to the cluster before: this node has joined another one. */
  startOver(): void {
    this.endReign('it joined another cluster', false);
    this.promise = undefined;
    this.seen = undefined;
    this.role = { kind: 'follower' };
  }

  tick(): void {
    if (this.state.cluster_id === null) return;
    if (this.role.kind === 'coordinator') this.reignOn(this.role.reign);
    else if (this.role.kind === 'candidate') {
      if (this.now.monotonic >= this.role.until) this.giveUp();
    } else this.maybeStand();
    this.forget();
  }

  /** Answers another node. Throws what the disk throws; then nothing was granted. */
  handle(from: string, request: Request): Answer {
    const refusal = this.stranger(from, request);
    if (refusal !== undefined) return this.answer(refusal);
    switch (request.kind) {
      case 'vote':
        return this.vote(from, request);
      case 'renew':
        return this.renew(from, request);
      case 'release':
        return this.released(from, request);
    }
  }

  /** What a node answered. */
  answered(from: string, request: Request, answer: Answer): void {
    if (request.cluster_id !== this.state.cluster_id) return;
    const listed = find(this.state.list, from);
    if (!listed || listed.state === 'removed') return;
    if (!this.rules.speaksFor(listed, answer.instance_id)) return;
    if (answer.newer) this.take(answer.newer);
    if (answer.term > this.state.term) {
      this.options.state.update({ term: answer.term, vote: null });
      this.step(`${from} knows a newer term`);
      return;
    }
    if (this.role.kind === 'candidate' && request.kind === 'vote') this.count(from, request, answer);
    if (this.role.kind === 'coordinator' && request.kind === 'renew') {
      this.role.reign.answered(from, request, answer);
      this.settle();
    }
  }

  /**
   * Changes the list; `done` is told the new one when majorities have stored it, or NOT_CONNECTED when this node
   * does not coordinate (any more), and what `changed` throws.
   */
  change(change: Change, done: Done): void {
    if (this.role.kind !== 'coordinator' || !this.role.reign.holds()) {
      done(noCoordinator());
      return;
    }
    this.role.reign.change(change, done);
    this.settle();
  }

  /** Hands over to another node. Throws CONFLICT naming why that one cannot coordinate. */
  transfer(to: string): void {
    if (this.role.kind !== 'coordinator' || !this.role.reign.holds()) throw noCoordinator();
    if (to === this.options.id) throw new SteepError('CONFLICT', `${to} coordinates already`);
    this.role.reign.requireSuccessor(to);
    this.resign(`handed over to ${to}`, to);
  }

  /** Ends the own lease, then lets the voters choose another one. */
  resign(reason: string, successor: string | null = null): void {
    if (this.role.kind !== 'coordinator') return;
    const { term } = this.role.reign;
    this.endReign(reason, true);
    const { cluster_id, instance_id } = this.state;
    for (const { node_id } of this.audience())
      this.options.send(node_id, {
        kind: 'release',
        cluster_id: cluster_id ?? '',
        term,
        instance_id,
        successor,
      });
  }

  /** A newer list, whoever had it: to have it is never wrong, only to count by an older one. */
  take(list: MemberList): void {
    if (compare(list, this.state.list) <= 0) return;
    this.options.state.update({ list });
    this.tell({ kind: 'list' });
  }

  // --- follower and candidate ------------------------------------------------------------------------------

  private maybeStand(): void {
    const { monotonic } = this.now;
    if (monotonic < this.standAt || monotonic < this.silentUntil) return;
    if (!this.mayStand() || this.rules.isBound(this.promise, this.options.id, this.now)) return;
    this.ask(true);
  }

  private mayStand(): boolean {
    const listed = find(this.state.list, this.options.id);
    return (
      this.mayVote && listed?.role === 'node' && listed.state === 'member' && this.options.standing().healthy
    );
  }

  /** Asks everybody, itself first: whoever does not vote by the own list may have a newer one. */
  private ask(trial: boolean): void {
    const { cluster_id, instance_id, list, term } = this.state;
    const wanted = term + 1;
    if (!trial) {
      this.store({ term: wanted, vote: { node_id: this.options.id, instance_id } });
      this.tell({ kind: 'standing', term: wanted });
    }
    const until = this.now.monotonic + ROUND_MS;
    this.role = { kind: 'candidate', trial, term: wanted, granted: new Set([this.options.id]), until };
    for (const { node_id } of this.audience())
      this.options.send(node_id, {
        kind: 'vote',
        trial,
        cluster_id: cluster_id ?? '',
        term: wanted,
        instance_id,
        list: versionOf(list),
      });
    this.decide();
  }

  private giveUp(): void {
    this.vain += 1;
    this.follow();
  }

  private count(from: string, request: Request & { kind: 'vote' }, answer: Answer): void {
    const { role } = this;
    if (role.kind !== 'candidate' || role.trial !== request.trial || role.term !== request.term) return;
    if (!answer.granted) return;
    role.granted.add(from);
    this.decide();
  }

  private decide(): void {
    const { role } = this;
    if (role.kind !== 'candidate') return;
    const { list } = this.state;
    const votes = voters(list).filter(({ node_id }) => role.granted.has(node_id)).length;
    if (votes < this.quorum(list)) return;
    if (!this.mayStand() || this.rules.isBound(this.promise, this.options.id, this.now)) this.follow();
    else if (role.trial) this.ask(false);
    else this.begin();
  }

  /** With `twoNode: promote` the survivor of two decides alone; that this is not safe is said at every start. */
  private quorum(list: MemberList): number {
    const those = voters(list);
    if (this.options.settings().twoNode === 'promote' && those.length === 2) {
      const other = those.find(({ node_id }) => node_id !== this.options.id);
      if (other && this.options.isSilent(other.node_id)) return 1;
    }
    return this.rules.quorum(list);
  }

  // --- coordinator -----------------------------------------------------------------------------------------

  private begin(): void {
    const { list, term } = this.state;
    // The same list in the own term: once a majority has it, nothing that an earlier coordinator left can win.
    this.options.state.update({ list: { ...list, term } });
    const reign = new Reign({
      id: this.options.id,
      term,
      state: this.options.state,
      clock: this.options.clock,
      lease: () => this.options.settings().lease,
      quorum: (one) => this.quorum(one),
      rules: this.rules,
      onList: () => this.tell({ kind: 'list' }),
    });
    this.role = { kind: 'coordinator', reign };
    this.vain = 0;
    this.unfitSince = undefined;
    this.reignOn(reign);
  }

  private reignOn(reign: Reign): void {
    if (reign.over()) {
      this.step('its lease ran out');
      return;
    }
    if (!this.fit()) return;
    if (reign.due(this.options.settings().interval)) this.round(reign);
    this.settle();
  }

  /** A coordinator that cannot work resigns, but not for a moment's outage. */
  private fit(): boolean {
    const now = this.now.monotonic;
    const listed = find(this.state.list, this.options.id);
    if (listed?.state !== 'member' || listed.vote !== 'yes') {
      this.resign(`it is ${listed?.state ?? 'not a member'}`);
      return false;
    }
    if (this.options.standing().healthy) this.unfitSince = undefined;
    else this.unfitSince ??= now;
    if (this.unfitSince === undefined || now - this.unfitSince < this.options.settings().lease) return true;
    this.resign('its PostgreSQL is away');
    return false;
  }

  /** One round of renewals; the own promise comes first, since the own vote counts. */
  private round(reign: Reign): void {
    const { lease } = this.options.settings();
    const now = this.now;
    if (lease > this.state.longest_promise) this.options.state.update({ longest_promise: lease });
    this.promise = {
      to: this.options.id,
      term: reign.term,
      until: this.rules.promisedUntil(now, lease),
    };
    for (const [to, request] of reign.round(now, lease, this.audience())) this.options.send(to, request);
    this.settle();
  }

  /** After anything that may have moved the reign on: it holds for the first time, or a list goes out at once. */
  private settle(): void {
    if (this.role.kind !== 'coordinator') return;
    const { reign } = this.role;
    if (reign.newlyHolds()) this.tell({ kind: 'elected', term: reign.term });
    if (reign.listChanged()) this.round(reign);
  }

  /** Daemons that belong, voters or not: all are to know who coordinates, and the list. */
  private audience() {
    return this.state.list.nodes.filter(
      ({ node_id, state, role }) => node_id !== this.options.id && state !== 'removed' && role !== '',
    );
  }

  /** Whatever this node was, it follows now. */
  private step(reason: string): void {
    if (this.role.kind === 'coordinator') this.endReign(reason, false);
    else this.follow();
  }

  private endReign(reason: string, letOthers: boolean): void {
    if (this.role.kind !== 'coordinator') return;
    const { reign } = this.role;
    reign.end();
    this.role = { kind: 'follower' };
    this.promise = undefined;
    this.standAt = this.now.monotonic + (letOthers ? this.options.settings().lease : 0) + this.delay();
    if (reign.held) this.tell({ kind: 'ended', term: reign.term, reason });
  }

  private follow(): void {
    this.role = { kind: 'follower' };
    this.standAt = Math.max(this.standAt, this.now.monotonic + this.delay());
  }

  // --- answering -------------------------------------------------------------------------------------------

  /** Why a request is none of ours. */
  private stranger(from: string, request: Request): string | undefined {
    if (request.cluster_id !== this.state.cluster_id) return 'another cluster';
    if (request.kind === 'release') return undefined; // it is for a promise, or for nothing
    // Whoever has a newer list may know better: the own one may be what a coordinator did not get through.
    const theirs = request.kind === 'vote' ? request.list : request.version;
    if (compare(theirs, this.state.list) > 0) return undefined;
    const listed = find(this.state.list, from);
    if (!listed || listed.state === 'removed') return `${from} does not belong`;
    if (!this.rules.speaksFor(listed, request.instance_id)) return `another copy of ${from}`;
    return listed.vote === 'yes' ? undefined : `${from} does not vote`;
  }

  private vote(from: string, request: Request & { kind: 'vote' }): Answer {
    const refusal = this.objection(from, request);
    if (refusal !== undefined) return this.answer(refusal, request.list);
    if (request.trial) return this.answer(undefined);
    this.step(`${from} stands`);
    this.store({ term: request.term, vote: { node_id: from, instance_id: request.instance_id } });
    this.standAt = this.now.monotonic + ROUND_MS + this.delay();
    return this.answer(undefined);
  }

  private objection(from: string, request: Request & { kind: 'vote' }): string | undefined {
    const now = this.now;
    if (!this.trusted) return 'it does not know yet whether its state is an old copy';
    if (now.monotonic < this.silentUntil) return 'it has just started';
    if (this.rules.isBound(this.promise, from, now)) return `it follows ${this.promise?.to}`;
    if (this.rules.isOutdated(request.list, this.state.list)) return 'it has a newer list';
    if (this.rules.isPast(request.term, this.state.term)) return 'it knows a newer term';
    const candidate = { node_id: from, instance_id: request.instance_id };
    if (request.term === this.state.term && this.rules.hasVotedOtherwise(this.state.vote, candidate))
      return 'it voted for another node';
    return undefined;
  }

  private renew(from: string, request: Request & { kind: 'renew' }): Answer {
    const received = this.now;
    const { term, list, longest_promise } = this.state;
    if (this.rules.isPast(request.term, term)) return this.answer('it knows a newer term', request.version);
    // Two of one term are the price of `promote`: the smaller id stays.
    if (this.role.kind === 'coordinator' && request.term === term && this.options.id < from)
      return this.answer(`${this.options.id} coordinates`);
    const newer = request.list && compare(request.list, list) > 0 ? request.list : undefined;
    const changes: Partial<ClusterState> = {
      ...(request.term > term
        ? { term: request.term, vote: { node_id: from, instance_id: request.instance_id } }
        : {}),
      ...(newer ? { list: newer } : {}),
      ...(request.lease > longest_promise ? { longest_promise: request.lease } : {}),
    };
    if (Object.keys(changes).length > 0) this.store(changes);
    if (this.role.kind !== 'follower') this.step(`${from} coordinates`);
    this.vain = 0;
    const until = this.rules.promisedUntil(received, request.lease);
    const before = this.promise?.to === from ? this.promise.until : 0;
    this.promise = { to: from, term: request.term, until: Math.max(until, before) };
    this.standAt = this.promise.until + this.delay();
    if (this.seen?.node_id !== from || this.seen.term !== request.term) {
      this.seen = { node_id: from, term: request.term, since: request.since };
      this.tell({ kind: 'followed', term: request.term, node_id: from });
    }
    if (newer) this.tell({ kind: 'list' });
    return this.answer(undefined, request.version);
  }

  private released(from: string, { term, successor }: Request & { kind: 'release' }): Answer {
    if (!this.rules.releases(this.promise, from, term)) return this.answer('no such promise');
    this.promise = undefined;
    this.standAt =
      this.now.monotonic +
      (successor === this.options.id ? 0 : this.delay() + (successor === null ? 0 : ROUND_MS));
    return this.answer(undefined);
  }

  private answer(reason: string | undefined, theirs?: Version): Answer {
    const { term, instance_id, list } = this.state;
    return {
      granted: reason === undefined,
      reason: reason ?? '',
      term,
      instance_id,
      version: versionOf(list),
      newer: theirs !== undefined && compare(list, theirs) > 0 ? list : undefined,
      healthy: this.options.standing().healthy,
    };
  }

  // --- small things ----------------------------------------------------------------------------------------

  private store(changes: Partial<ClusterState>): void {
    this.options.state.update(changes);
  }

  /** Priority only delays standing. After each vain attempt chance has more room, or two would meet for ever. */
  private delay(): number {
    const jitter = JITTER_MS * 2 ** Math.min(this.vain, MOST_DOUBLINGS);
    return this.options.standing().rank * RANK_MS + this.options.random() * jitter;
  }

  /** Tells once that the coordinator that was followed is not heard any more. */
  private forget(): void {
    if (!this.seen || this.role.kind === 'coordinator') return;
    if (this.promise?.to === this.seen.node_id && this.now.monotonic < this.promise.until) return;
    const { node_id, term } = this.seen;
    this.seen = undefined;
    this.tell({ kind: 'lost', term, node_id });
  }

  private tell(event: ElectionEvent): void {
    this.options.onChange?.(event);
  }
}

function versionOf({ term, number }: Version): Version {
  return { term, number };
}

function noCoordinator(): SteepError {
  return new SteepError('NOT_CONNECTED', 'this node does not coordinate');
}
