/**
 * One coordinator's term in etcd: its lease, and the changes of the member list that it makes, one after the other.
 * Each is a transaction that etcd does only while the place of the coordinator is still this one's.
 */
import { type Change, changed, compare, find, type Listed, type MemberList } from '../cluster/list.ts';
import { type Moment, rules } from '../cluster/rules.ts';
import type { Durable } from '../cluster/state.ts';
import { SteepError } from '../lib/errors.ts';
import type { Store, View } from './store.ts';

export interface ReignOptions {
  id: string;
  clusterId: string;
  term: number;
  /** Of etcd, of so many milliseconds from when it was asked for. */
  lease: bigint;
  ttl: number;
  asked: Moment;
  state: Durable;
  store: Store;
  clock: () => Moment;
  /** A list that etcd has. */
  onList: (list: MemberList) => void;
}

const MOST_TRIES = 3;

export class Reign {
  readonly clusterId: string;
  readonly term: number;
  readonly lease: bigint;
  /** Whether others were told that this node coordinates. */
  shown = false;
  private readonly options: ReignOptions;
  private readonly since: number;
  /** When etcd was asked for what it answered last. */
  private asked: Moment;
  private ended = false;
  /** Since when it cannot do its work, of the monotonic clock. */
  private unfitSince: number | undefined;
  /** Of the list in etcd; 0 for none. */
  private listRevision = 0;
  private changes: Promise<unknown> = Promise.resolve();

  constructor(options: ReignOptions) {
    this.options = options;
    this.clusterId = options.clusterId;
    this.term = options.term;
    this.lease = options.lease;
    this.asked = options.asked;
    this.since = options.asked.wall;
  }

  get seen() {
    return { node_id: this.options.id, term: this.term, since: this.since };
  }

  /** Whether the lease runs at this very moment. */
  holds(): boolean {
    const elapsed = rules.elapsed(this.asked, this.options.clock());
    return !this.ended && rules.mayAct(elapsed < rules.counted(this.options.ttl));
  }

  /** Nothing of this coordinator counts from now on. */
  end(): void {
    this.ended = true;
  }

  /** Throws what the store throws. `doubtful`: etcd's answer may be that of a member that leads no more. */
  async renew(): Promise<'renewed' | 'doubtful' | 'gone'> {
    const { store, clock } = this.options;
    const asked = clock();
    const { alive, certain, view } = await store.renew(this.clusterId, this.lease);
    if (!alive || !this.isIn(view) || view.coordinator?.lease !== this.lease) return 'gone';
    if (!this.ended) this.learn(view);
    if (!certain) return 'doubtful';
    this.asked = asked;
    return 'renewed';
  }

  /** Why it must resign; not for a moment's outage. */
  unfit(healthy: boolean, patience: number): string | undefined {
    const now = this.options.clock().monotonic;
    this.unfitSince = healthy ? undefined : (this.unfitSince ?? now);
    const away = this.unfitSince !== undefined && now - this.unfitSince >= patience;
    const listed = find(this.options.state.current.list, this.options.id);
    return whyUnfit(listed) ?? (away ? 'its PostgreSQL is away' : undefined);
  }

  /** Throws NOT_CONNECTED when the lease does not run, or etcd says so; and what `changed` and the store throw. */
  async change(change: Change): Promise<MemberList> {
    const mine = this.changes.then(() => this.write(change));
    this.changes = mine.catch(() => {});
    return await mine;
  }

  private async write(change: Change): Promise<MemberList> {
    const { state, store, onList } = this.options;
    for (let tries = 0; tries < MOST_TRIES && this.holds(); tries += 1) {
      const before = state.current.list;
      const nodes = changed(before, change);
      if (nodes === undefined) return before;
      const fresh = { term: this.term, number: before.number + 1, nodes: enfranchised(nodes) };
      const outcome = await store.write(this.clusterId, this.term, fresh, this.listRevision);
      if (typeof outcome === 'number') {
        this.listRevision = outcome;
        onList(fresh);
        return fresh;
      }
      if (!this.isIn(outcome)) {
        this.end();
        break;
      }
      this.learn(outcome); // maybe it is this very change, by a request that was thought to be lost
    }
    throw new SteepError('NOT_CONNECTED', 'this node does not coordinate any more', {
      hint: 'steep-repl nodes list, then try again',
    });
  }

  private isIn({ coordinator }: View): boolean {
    return coordinator?.term === this.term;
  }

  private learn({ members }: View): void {
    this.listRevision = members?.revision ?? 0;
    if (members) this.options.onList(members.list);
  }
}

/** Why a node may not coordinate, by the list. */
export function whyUnfit(listed: Listed | undefined): string | undefined {
  if (listed?.state !== 'member') return `it is ${listed?.state ?? 'not a member'}`;
  return listed.vote === 'yes' ? undefined : 'it does not vote';
}

/**
 * What etcd lost of what a node knows, by a restored backup or as a new one: a term given now would not fence off an
 * earlier one.
 */
export function lossOf(
  { revision, members }: View,
  { term, list }: { term: number; list: MemberList },
): SteepError | undefined {
  const older = members !== undefined && compare(members.list, list) < 0;
  if (revision >= term && !older) return undefined;
  const what = older ? 'its member list is older' : `its revision is ${revision}, the last term was ${term}`;
  return new SteepError('CONFLICT', `etcd knows less than this node: ${what}`, {
    hint: 'was etcd restored or replaced? then stop all daemons, and on each node:  steep-repl cluster recover --survivors …',
  });
}

/** Votes decide nothing here, but the list keeps its meaning: who is let in votes at once. */
function enfranchised(nodes: readonly Listed[]): Listed[] {
  return nodes.map((one) =>
    one.vote === 'soon' && one.instance_id !== '' && one.state !== 'removed' ? { ...one, vote: 'yes' } : one,
  );
}
