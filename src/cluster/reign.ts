/**
 * One coordinator's term: its lease, and the changes of the member list that it makes.
 *
 * The lease is what a majority promised, counted from when each was asked. A change is stored here first, then
 * sent with the renewals, and done when majorities of the list before it and of the list after it have stored it;
 * until then both majorities decide about the lease too. The next change waits for that. The first of all waits
 * until a majority has the list under this term's number.
 */
import { SteepError } from '../lib/errors.ts';
import {
  type Change,
  changed,
  compare,
  find,
  type Listed,
  type MemberList,
  type Version,
  voters,
} from './list.ts';
import type { Answer, Request } from './messages.ts';
import type { Moment, Rules } from './rules.ts';
import type { Durable } from './state.ts';

type Renewal = Request & { kind: 'renew' };

export interface ReignOptions {
  id: string;
  term: number;
  state: Durable;
  clock: () => Moment;
  /** Milliseconds. */
  lease: () => number;
  quorum: (list: MemberList) => number;
  rules: Rules;
  /** The list is another one now. */
  onList: () => void;
}

/** Told once how a change ended. */
export type Done = (outcome: MemberList | SteepError) => void;

interface Ticket {
  change: Change;
  done: Done;
}

interface Promised {
  asked: Moment;
  lease: number;
}

export class Reign {
  readonly term: number;
  /** Whether the lease ever ran. */
  held = false;
  private readonly options: ReignOptions;
  private readonly began: Moment;
  private readonly promises = new Map<string, Promised>();
  private readonly versions = new Map<string, Version>();
  private readonly healthy = new Map<string, boolean>();
  private readonly asked = new WeakMap<Renewal, Promised>();
  private readonly tickets: Ticket[] = [];
  /** The list before the change that is under way, and who asked for it. */
  private pending: { before: MemberList; ticket: Ticket } | undefined;
  /** Whether a majority has stored the list of this term. */
  private confirmed = false;
  private unsent = false;
  private lastRound = -Infinity;
  private ended = false;

  constructor(options: ReignOptions) {
    this.options = options;
    this.term = options.term;
    this.began = options.clock();
  }

  get seen() {
    return { node_id: this.options.id, term: this.term, since: this.began.wall };
  }

  private get list(): MemberList {
    return this.options.state.current.list;
  }

  /** Whether the lease runs at this very moment. */
  holds(): boolean {
    if (this.ended) return false;
    const now = this.options.clock();
    const { rules } = this.options;
    const runs = rules
      .deciding(this.list, this.pending?.before)
      .every((list) => this.count(list, ({ node_id }) => this.left(node_id, now) > 0));
    return rules.mayAct(runs);
  }

  /** Whether it was lost, or was not to be had in time. */
  over(): boolean {
    if (this.ended) return true;
    if (this.held) return !this.holds();
    const { rules, clock, lease } = this.options;
    return !this.holds() && rules.elapsed(this.began, clock()) > lease();
  }

  /** True once, when the lease runs for the first time. */
  newlyHolds(): boolean {
    if (this.held || !this.holds()) return false;
    this.held = true;
    return true;
  }

  due(interval: number): boolean {
    return this.options.clock().monotonic - this.lastRound >= interval;
  }

  /** True once after each change of the list. */
  listChanged(): boolean {
    const { unsent } = this;
    this.unsent = false;
    return unsent;
  }

  /** What to ask whom; the own answer is given with it. */
  round(now: Moment, lease: number, audience: readonly Listed[]): [string, Renewal][] {
    const { cluster_id, instance_id } = this.options.state.current;
    this.lastRound = now.monotonic;
    this.unsent = false;
    this.promises.set(this.options.id, { asked: now, lease });
    this.versions.set(this.options.id, this.list);
    const requests = audience.map(({ node_id }): [string, Renewal] => {
      const known = this.versions.get(node_id);
      const request: Renewal = {
        kind: 'renew',
        cluster_id: cluster_id ?? '',
        term: this.term,
        instance_id,
        lease,
        version: { term: this.list.term, number: this.list.number },
        list: known && compare(known, this.list) === 0 ? undefined : this.list,
        since: this.began.wall,
      };
      this.asked.set(request, { asked: now, lease });
      return [node_id, request];
    });
    this.proceed();
    return requests;
  }

  answered(from: string, request: Renewal, { granted, version, healthy }: Answer): void {
    const promised = this.asked.get(request);
    if (!granted || request.term !== this.term || !promised || this.ended) return;
    const { rules, clock } = this.options;
    const asked = rules.countsFrom(promised.asked, clock());
    const before = this.promises.get(from);
    if (!before || before.asked.monotonic < asked.monotonic)
      this.promises.set(from, { asked, lease: promised.lease });
    this.versions.set(from, version);
    this.healthy.set(from, healthy);
    this.proceed();
  }

  change(change: Change, done: Done): void {
    this.tickets.push({ change, done });
    this.proceed();
  }

  /** Throws CONFLICT when this node could not take over at once. */
  requireSuccessor(id: string): void {
    const refuse = (why: string): never => {
      throw new SteepError('CONFLICT', `${id} cannot take over: ${why}`, { hint: 'steep-repl nodes list' });
    };
    const listed = find(this.list, id);
    if (!listed || listed.state === 'removed')
      throw new SteepError('NODE_NOT_FOUND', `there is no node '${id}'`);
    if (listed.role !== 'node') refuse('it has no PostgreSQL');
    if (listed.state === 'offline') refuse('it is offline');
    if (listed.vote !== 'yes') refuse('it does not vote');
    if (this.left(id, this.options.clock()) <= 0) refuse('it does not answer');
    if (this.healthy.get(id) === false) refuse('its PostgreSQL is away');
  }

  /** Whether it was removed by the change that is under way: until that is done its vote counts as before. */
  isLeaving(id: string): boolean {
    if (!this.pending || find(this.list, id)?.state !== 'removed') return false;
    return find(this.pending.before, id)?.vote === 'yes';
  }

  /** Whether a node's answer is younger than the lease. */
  hears(id: string): boolean {
    return this.left(id, this.options.clock()) > 0;
  }

  /** No act of this coordinator counts from now on. */
  end(): void {
    this.ended = true;
    const error = new SteepError(
      'NOT_CONNECTED',
      'the coordinator ended before the change was done; maybe it is',
      {
        hint: 'steep-repl nodes list, then try again',
      },
    );
    for (const ticket of [this.pending?.ticket, ...this.tickets.splice(0)]) ticket?.done(error);
    this.pending = undefined;
  }

  /** Milliseconds for which this node's promise still counts. */
  private left(id: string, now: Moment): number {
    const promised = this.promises.get(id);
    if (!promised) return 0;
    const { rules } = this.options;
    return rules.counted(promised.lease) - rules.elapsed(promised.asked, now);
  }

  private count(list: MemberList, those: (voter: Listed) => boolean): boolean {
    return voters(list).filter(those).length >= this.options.quorum(list);
  }

  /** Ends the change that majorities have stored, and begins the next one; acts only while the lease runs. */
  private proceed(): void {
    while (this.holds()) {
      if (this.pending || !this.confirmed) {
        const stored = ({ node_id }: Listed): boolean =>
          compare(this.versions.get(node_id) ?? { term: -1, number: 0 }, this.list) === 0;
        const lists = this.options.rules.deciding(this.list, this.pending?.before);
        const done = lists.every((list) => this.count(list, stored));
        if (done) {
          this.confirmed = true;
          const { pending } = this;
          this.pending = undefined;
          pending?.ticket.done(this.list);
        } else if (this.pending || !this.options.rules.mayChange(this.confirmed)) return;
      }
      const asked = this.tickets.shift();
      if (asked) this.begin(asked);
      else {
        const consequence = this.consequence();
        // What the disk refused is tried again after the next answer, not at once.
        if (!consequence || !this.begin(consequence)) return;
      }
    }
  }

  /** Whether the change is under way now. */
  private begin(ticket: Ticket): boolean {
    const before = this.list;
    try {
      const nodes = changed(before, ticket.change);
      if (nodes === undefined) {
        ticket.done(before);
        return false;
      }
      const list = { term: this.term, number: before.number + 1, nodes };
      this.requireMajority(list, ticket.change.node_id);
      this.options.state.update({ list });
    } catch (error) {
      ticket.done(SteepError.from(error));
      return false;
    }
    this.pending = { before, ticket };
    this.versions.set(this.options.id, this.list);
    this.unsent = true;
    this.options.onList();
    return true;
  }

  /** Throws CONFLICT for a list by which no majority answers: it could not be had, nor the one before it again. */
  private requireMajority(list: MemberList, subject: string): void {
    const now = this.options.clock();
    const answers = ({ node_id }: Listed): boolean => this.left(node_id, now) > 0;
    if (this.count(list, answers)) return;
    const away = voters(list).filter((voter) => !answers(voter));
    throw new SteepError(
      'CONFLICT',
      `without ${subject} no majority would answer: ${away.map(({ node_id }) => node_id).join(', ')} away`,
      { hint: 'bring them back first, or remove them first' },
    );
  }

  /** What follows from the list: a removal that is done is sealed; a node that has the list and is heard votes. */
  private consequence(): Ticket | undefined {
    const gone = this.list.nodes.find(({ state, instance_id }) => state === 'removed' && instance_id !== '');
    if (gone) return { change: { kind: 'seal', node_id: gone.node_id }, done: () => {} };
    const now = this.options.clock();
    const ready = this.list.nodes.find(
      ({ node_id, vote, instance_id, state }) =>
        vote === 'soon' &&
        instance_id !== '' &&
        state !== 'removed' &&
        this.left(node_id, now) > 0 &&
        compare(this.versions.get(node_id) ?? { term: -1, number: 0 }, this.list) === 0,
    );
    if (!ready) return undefined;
    return { change: { kind: 'enfranchise', node_id: ready.node_id }, done: () => {} };
  }
}
