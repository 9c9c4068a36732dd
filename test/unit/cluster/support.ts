/** Nodes whose clocks, disks and messages a test moves by hand. */
import { Election, type ElectionEvent } from '../../../src/cluster/election.ts';
import type { Listed, MemberList } from '../../../src/cluster/list.ts';
import type { Request } from '../../../src/cluster/messages.ts';
import { rules as allRules, type Rules } from '../../../src/cluster/rules.ts';
import { type ClusterState, Durable } from '../../../src/cluster/state.ts';

export const LEASE = 3000;
export const INTERVAL = 1000;

export interface BedOptions {
  rules?: Partial<Rules>;
  twoNode?: 'safe' | 'promote';
  /** Witnesses, by id. */
  witnesses?: string[];
  /** Who belongs and is to vote as soon as it has the list. */
  soon?: string[];
}

/** One node: the disk survives `restart`. */
export class Node {
  readonly id: string;
  readonly bed: Bed;
  readonly events: ElectionEvent[] = [];
  disk: ClusterState;
  election: Election;
  healthy = true;
  lease = LEASE;
  silent = new Set<string>();
  /** What the disk throws at the next write. */
  diskError: Error | undefined;
  /** How often it did. */
  refused = 0;
  /** After how often it has room again. */
  patience = Infinity;
  /** Added to the bed's time. */
  wallOffset = 0;
  asleep = 0;
  rank: number;

  constructor(bed: Bed, id: string, rank: number, list: MemberList) {
    this.bed = bed;
    this.id = id;
    this.rank = rank;
    this.disk = {
      instance_id: `${id}/1`,
      serial: 0,
      cluster_id: 'c',
      term: 0,
      vote: null,
      list,
      longest_promise: 0,
      members: [],
    };
    this.election = this.start(true);
  }

  /** `trusts`: whether it is known at once that the disk is no old copy. */
  restart({ trusts = true } = {}): void {
    this.election = this.start(trusts);
  }

  /** Its clocks have gone further than the bed's. */
  drift(by: number): void {
    this.asleep -= by;
    this.wallOffset += by;
  }

  private start(trusts: boolean): Election {
    const state = new Durable(structuredClone(this.disk), (fresh) => {
      if (this.diskError) {
        this.refused += 1;
        const error = this.diskError;
        if (this.refused >= this.patience) this.diskError = undefined;
        throw error;
      }
      this.disk = fresh;
    });
    const election = new Election({
      id: this.id,
      state,
      clock: () => ({ monotonic: this.bed.now - this.asleep, wall: this.bed.now + this.wallOffset }),
      random: () => 0,
      settings: () => ({
        lease: this.lease,
        interval: INTERVAL,
        twoNode: this.bed.options.twoNode ?? 'safe',
      }),
      standing: () => ({
        healthy: this.healthy && !this.bed.options.witnesses?.includes(this.id),
        rank: this.rank,
      }),
      isSilent: (id) => this.silent.has(id),
      send: (to, request) => void this.bed.sent.push({ from: this, to, request }),
      onChange: (event) => void this.events.push(event),
      rules: { ...allRules, ...this.bed.options.rules },
    });
    if (trusts) election.trust();
    return election;
  }
}

/** A cluster whose messages lie still until they are delivered. */
export class Bed {
  now = 100_000;
  sent: { from: Node; to: string; request: Request }[] = [];
  readonly options: BedOptions;
  readonly nodes: Node[];
  /** `a>b`: what a says does not reach b. */
  readonly cut = new Set<string>();
  /** `a>b`: what a says reaches b without the list that belongs to it. */
  readonly bare = new Set<string>();

  constructor(ids: readonly string[], options: BedOptions = {}) {
    this.options = options;
    const nodes = ids.map((node_id): Listed => ({
      node_id,
      instance_id: `${node_id}/1`,
      role: options.witnesses?.includes(node_id) ? 'witness' : 'node',
      state: 'member',
      vote: options.soon?.includes(node_id) ? 'soon' : 'yes',
    }));
    this.nodes = ids.map((id, rank) => new Node(this, id, rank, { term: 0, number: 1, nodes }));
  }

  node(id: string): Node {
    const found = this.nodes.find((one) => one.id === id);
    if (!found) throw new Error(`no ${id}`);
    return found;
  }

  /** Delivers everything that can be delivered, answers included, until nothing is left. */
  deliver(): void {
    for (let batch = this.take(); batch.length > 0; batch = this.take())
      for (const { from, to, request } of batch) {
        const target = this.nodes.find(({ id }) => id === to);
        if (!target || this.cut.has(`${from.id}>${to}`)) continue;
        const bare = request.kind === 'renew' && this.bare.has(`${from.id}>${to}`);
        const answer = target.election.handle(from.id, bare ? { ...request, list: undefined } : request);
        if (this.cut.has(`${to}>${from.id}`)) continue;
        const told = this.bare.has(`${to}>${from.id}`) ? { ...answer, newer: undefined } : answer;
        from.election.answered(to, request, told);
      }
  }

  /** What was sent and not delivered yet; it is not, from now on. */
  take(): { from: Node; to: string; request: Request }[] {
    const batch = this.sent;
    this.sent = [];
    return batch;
  }

  /** Lets time pass; nodes look at their clocks, and messages arrive at once. */
  pass(milliseconds: number, those: readonly Node[] = this.nodes): void {
    for (let left = milliseconds; left > 0; left -= 50) {
      this.now += Math.min(50, left);
      for (const node of those) node.election.tick();
      this.deliver();
    }
  }

  /** As `pass`; how many coordinated at one moment. */
  most(milliseconds: number, those: readonly Node[] = this.nodes): number {
    let most = this.reigning().length;
    for (let left = milliseconds; left > 0; left -= 50) {
      this.pass(Math.min(50, left), those);
      most = Math.max(most, this.reigning().length);
    }
    return most;
  }

  /** Two that hear each other no more, or again. */
  between(a: string, b: string, heard: boolean): void {
    for (const way of [`${a}>${b}`, `${b}>${a}`])
      if (heard) this.cut.delete(way);
      else this.cut.add(way);
  }

  /** Apart from all others. */
  isolate(id: string): void {
    for (const { id: other } of this.nodes) {
      this.cut.add(`${id}>${other}`);
      this.cut.add(`${other}>${id}`);
    }
  }

  reigning(): string[] {
    return this.nodes.filter(({ election }) => election.reigns).map(({ id }) => id);
  }
}
