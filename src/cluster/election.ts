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
import { type Change, compare, find, type MemberList, voters } from './list.ts';
import type { Answer, Request } from './messages.ts';
import { type Done, Reign } from './reign.ts';
import { type Moment, type Rules, rules as allRules } from './rules.ts';
import type { ClusterState, Durable } from './state.ts';
import { type CoordinatorSeen, UNSURE, versionOf, Voter } from './voter.ts';

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
  private readonly voter: Voter;
  /** When this node's turn comes, of the monotonic clock. */
  private standAt: number;
  /** Since when this coordinator cannot do its work, of the monotonic clock. */
  private unfitSince: number | undefined;
  /** Attempts to be elected since there was a coordinator. */
  private vain = 0;

  constructor(options: ElectionOptions) {
    this.options = options;
    this.rules = options.rules ?? allRules;
    const { id, state, clock } = options;
    const isHealthy = (): boolean => options.standing().healthy;
    this.voter = new Voter({ id, state, clock, rules: this.rules, isHealthy });
    this.standAt = this.voter.silentUntil + this.delay();
  }

  private get now(): Moment {
    return this.options.clock();
  }

  private get state(): Readonly<ClusterState> {
    return this.options.state.current;
  }

  /** The coordinator as this node knows it: itself while its lease runs, another while the promise to it does. */
  get coordinator(): CoordinatorSeen | undefined {
    if (this.role.kind !== 'coordinator') return this.voter.coordinator;
    return this.role.reign.holds() ? this.role.reign.seen : undefined;
  }

  /** Whether this node coordinates, at this very moment. */
  get reigns(): boolean {
    return this.role.kind === 'coordinator' && this.role.reign.holds();
  }

  /** The state on disk was found to be no old copy: only then this node votes. */
  trust(): void {
    this.voter.trust();
  }

  /** Gives up all that belongs to the cluster before: this node has joined another one. */
  startOver(): void {
    this.endReign('it joined another cluster', false);
    this.voter.startOver();
    this.role = { kind: 'follower' };
  }

  tick(): void {
    if (this.state.cluster_id === null) return;
    if (this.role.kind === 'coordinator') this.reignOn(this.role.reign);
    else if (this.role.kind === 'candidate') {
      if (this.now.monotonic >= this.role.until) this.giveUp();
    } else this.maybeStand();
    const lost = this.voter.lost();
    if (lost && this.role.kind !== 'coordinator')
      this.tell({ kind: 'lost', term: lost.term, node_id: lost.node_id });
  }

  /** Answers another node. Throws what the disk throws; then nothing was granted. */
  handle(from: string, request: Request): Answer {
    const refusal = this.voter.stranger(from, request);
    if (refusal !== undefined) return this.voter.refuse(from, request, refusal);
    if (request.kind === 'vote') return this.vote(from, request);
    if (request.kind === 'renew') return this.renew(from, request);
    return this.released(from, request);
  }

  /** What a node answered. */
  answered(from: string, request: Request, answer: Answer): void {
    if (request.cluster_id !== this.state.cluster_id) return;
    const listed = find(this.state.list, from);
    const leaves = this.role.kind === 'coordinator' && this.role.reign.isLeaving(from);
    if (!listed || (listed.state === 'removed' && !leaves)) return;
    // Another copy of a node that lost its disk counts for nothing else, but may have been told what we were not.
    if (answer.newer) this.take(answer.newer);
    if (!this.rules.speaksFor(listed, answer.instance_id)) return;
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
    if (monotonic < this.standAt || monotonic < this.voter.silentUntil) return;
    // Who may not stand asks too: its own list, by which it may not, may be what nobody else has, or an old one that
    // does not name who coordinates now.
    if (this.voter.belongs && !this.voter.isBound(this.options.id)) this.ask(true);
  }

  private mayStand(): boolean {
    const listed = find(this.state.list, this.options.id);
    return (
      this.voter.counts &&
      !this.voter.isBound(this.options.id) &&
      listed?.role === 'node' &&
      listed.state === 'member' &&
      this.options.standing().healthy
    );
  }

  /** Asks everybody, itself first: whoever does not vote by the own list may have a newer one. */
  private ask(trial: boolean): void {
    const { cluster_id, instance_id, list, term } = this.state;
    const wanted = term + 1;
    if (!trial) {
      this.voter.give(this.options.id, { term: wanted, instance_id });
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

  private waitForOthers(): void {
    this.role = { kind: 'follower' };
    this.standAt = this.now.monotonic + ROUND_MS + this.delay();
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
    if (!this.mayStand()) this.waitForOthers();
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
    this.voter.promiseSelf(reign.term, lease);
    const leaving = this.state.list.nodes.filter(({ node_id }) => reign.isLeaving(node_id));
    for (const [to, request] of reign.round(now, lease, [...this.audience(), ...leaving]))
      this.options.send(to, request);
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
    this.voter.free();
    this.standAt = this.now.monotonic + (letOthers ? this.options.settings().lease : 0) + this.delay();
    if (reign.held) this.tell({ kind: 'ended', term: reign.term, reason });
  }

  private follow(): void {
    this.role = { kind: 'follower' };
    this.standAt = Math.max(this.standAt, this.now.monotonic + this.delay());
  }

  // --- answering -------------------------------------------------------------------------------------------

  private vote(from: string, request: Request & { kind: 'vote' }): Answer {
    const { voter } = this;
    const refusal = voter.objection(from, request);
    if (refusal === undefined && !request.trial) {
      this.step(`${from} stands`);
      voter.give(from, request);
      this.standAt = this.now.monotonic + ROUND_MS + this.delay();
    }
    return voter.answer(refusal, request.list);
  }

  private renew(from: string, request: Request & { kind: 'renew' }): Answer {
    const { voter, state } = this;
    if (this.rules.isPast(request.term, state.term))
      return voter.answer('it knows a newer term', request.version);
    if (voter.isUnsure(Math.max(request.lease, this.options.settings().lease))) return voter.answer(UNSURE);
    // Two of one term are the price of `promote`: the smaller id stays.
    if (this.role.kind === 'coordinator' && request.term === state.term && this.options.id < from)
      return voter.answer(`${this.options.id} coordinates`);
    if (this.role.kind !== 'follower') this.step(`${from} coordinates`);
    const news = voter.follow(from, request);
    this.vain = 0;
    this.standAt = (voter.boundUntil ?? 0) + this.delay();
    if (news.coordinator) this.tell({ kind: 'followed', term: request.term, node_id: from });
    if (news.list) this.tell({ kind: 'list' });
    return voter.answer(undefined, request.version);
  }

  private released(from: string, request: Request & { kind: 'release' }): Answer {
    if (!this.voter.release(from, request)) return this.voter.answer('no such promise');
    const { successor } = request;
    const wait = successor === this.options.id ? 0 : this.delay() + (successor === null ? 0 : ROUND_MS);
    this.standAt = this.now.monotonic + wait;
    return this.voter.answer(undefined);
  }

  // --- small things ----------------------------------------------------------------------------------------

  /** Priority only delays standing. After each vain attempt chance has more room, or two would meet for ever. */
  private delay(): number {
    const jitter = JITTER_MS * 2 ** Math.min(this.vain, MOST_DOUBLINGS);
    return this.options.standing().rank * RANK_MS + this.options.random() * jitter;
  }

  private tell(event: ElectionEvent): void {
    this.options.onChange?.(event);
  }
}

function noCoordinator(): SteepError {
  return new SteepError('NOT_CONNECTED', 'this node does not coordinate');
}
