/**
 * Who coordinates, decided by etcd: who has made the key `coordinator`, as long as that is there (store.ts).
 *
 *   follower ──the place is empty, its turn came, etcd took its claim──► coordinator
 *       ▲                                                                    │ resigned, or its key is gone
 *       └────────────────────────────────────────────────────────────────────┘
 *
 * The key hangs on a lease of etcd, which the coordinator renews. It counts that lease from the sending of what etcd
 * answered, less a margin for clocks, by whichever clock went further: it has run out here before etcd gives the place
 * away. A coordinator whose count ran out, while its key is still its own, is none until etcd answers again, and then
 * goes on in the same term: nobody can have been another one between.
 *
 * Pure: clocks, chance, disk and etcd are passed in. `round` asks etcd, and is to be called again and again, one at a
 * time; `tick` only looks at the clocks, and is to be called often.
 */
import type { ElectionEvent, Standing } from '../cluster/election.ts';
import type { CoordinatorSeen } from '../cluster/voter.ts';
import { type Change, compare, find, type MemberList } from '../cluster/list.ts';
import { type Moment, rules } from '../cluster/rules.ts';
import type { ClusterState, Durable } from '../cluster/state.ts';
import { SteepError } from '../lib/errors.ts';
import { lossOf, Reign, whyUnfit } from './reign.ts';
import type { Store, View } from './store.ts';

export interface EtcdElectionOptions {
  id: string;
  state: Durable;
  store: Store;
  clock: () => Moment;
  /** 0 to 1. */
  random: () => number;
  /** Milliseconds. */
  settings: () => { lease: number; interval: number };
  standing: () => Standing;
  /** Something that is shown is different now. */
  onChange: (what: ElectionEvent) => void;
}

/** Between those who may stand, so that the better one is through before the next one tries. */
const RANK_MS = 200;
const JITTER_MS = 100;
/** For the node that was named successor. */
const COURTESY_MS = 1000;
/** Before a round that ended without certainty is repeated. */
const AGAIN_MS = 100;

export class EtcdElection {
  /** Why etcd cannot be believed: it knows less than this node. */
  distrust: SteepError | undefined;
  private readonly options: EtcdElectionOptions;
  private reign: Reign | undefined;
  private seen: { coordinator: CoordinatorSeen; asked: Moment } | undefined;
  private standAt: number | undefined;
  private trusted = false;
  private uncertain = false;

  constructor(options: EtcdElectionOptions) {
    this.options = options;
  }

  /** The coordinator as this node knows it: itself while its lease runs, another one while etcd confirms it. */
  get coordinator(): CoordinatorSeen | undefined {
    const { reign, seen } = this;
    if (reign) return reign.holds() ? reign.seen : undefined;
    return seen && rules.elapsed(seen.asked, this.now) < this.ttl ? seen.coordinator : undefined;
  }

  /** Milliseconds: what is not confirmed for so long is not shown. */
  get ttl(): number {
    return Math.ceil(this.options.settings().lease / 1000) * 1000;
  }

  /** Milliseconds until the next round. */
  get pause(): number {
    const { interval } = this.options.settings();
    if (this.uncertain) return AGAIN_MS;
    if (this.reign || this.seen) return interval;
    if (this.standAt === undefined || !this.mayStand()) return interval / 2;
    return Math.min(interval / 2, Math.max(this.standAt - this.now.monotonic, 0));
  }

  /** The state on disk was found to be no old copy: only then this node stands. */
  trust(): void {
    this.trusted = true;
  }

  /** Gives up the cluster of its own in which it was alone: this node joins another one. */
  async startOver(): Promise<void> {
    const { reign } = this;
    this.seen = undefined;
    this.standAt = undefined;
    this.distrust = undefined;
    if (!reign) return;
    this.end(reign, 'it joined another cluster');
    await this.options.store.release(reign.clusterId, reign, { dissolve: true });
  }

  /** Notices what ran out, and resigns when this node is not fit any more. */
  tick(): void {
    const { reign, seen } = this;
    if (reign?.shown && !reign.holds()) {
      reign.shown = false;
      this.tell({ kind: 'ended', term: reign.term, reason: 'its lease ran out' });
    }
    // A coordinator that cannot work resigns.
    const unfit = reign?.unfit(this.options.standing().healthy, this.options.settings().lease);
    if (unfit !== undefined) void this.resign(unfit);
    if (!seen || this.coordinator) return;
    this.seen = undefined;
    this.tell({ kind: 'lost', term: seen.coordinator.term, node_id: seen.coordinator.node_id });
  }

  /** Asks etcd how things are, and does what follows. Throws what the store throws, and the disk. */
  async round(): Promise<void> {
    const { reign } = this;
    const clusterId = this.state.cluster_id;
    this.uncertain = reign !== undefined;
    if (clusterId === null) return;
    if (reign) await this.renew(reign);
    else await this.follow(clusterId);
  }

  /** Changes the list. Throws NOT_CONNECTED when this node does not coordinate, and what Reign.change throws. */
  async change(change: Change): Promise<MemberList> {
    return await this.requireReign().change(change);
  }

  /** Hands over to another node. Throws NOT_CONNECTED, CONFLICT. */
  async transfer(to: string): Promise<void> {
    const reign = this.requireReign();
    if (to === this.options.id) throw new SteepError('CONFLICT', `${to} coordinates already`);
    await this.letGo(reign, `handed over to ${to}`, to);
  }

  /** Ends an own reign; if etcd cannot be told, the lease runs out by itself. */
  async resign(reason: string): Promise<void> {
    if (this.reign) await this.letGo(this.reign, reason).catch(() => {});
  }

  /** Throws NOT_CONNECTED when this node does not coordinate at this moment. */
  requireReign(): Reign {
    if (this.reign?.holds()) return this.reign;
    throw new SteepError('NOT_CONNECTED', 'this node does not coordinate');
  }

  /** A newer list, that the coordinator told after etcd had it. */
  take(list: MemberList): void {
    if (compare(list, this.state.list) <= 0) return;
    this.options.state.update({ list });
    this.tell({ kind: 'list' });
  }

  private get now(): Moment {
    return this.options.clock();
  }

  private get state(): Readonly<ClusterState> {
    return this.options.state.current;
  }

  // --- follower --------------------------------------------------------------------------------------------

  private async follow(clusterId: string): Promise<void> {
    const before = this.state;
    const asked = this.now;
    const view = await this.options.store.look(clusterId);
    if (this.state.cluster_id !== clusterId || this.reign) return; // things have moved on
    this.distrust = lossOf(view, before);
    if (this.distrust) {
      this.standAt = undefined;
      this.forget();
      return;
    }
    if (view.members) this.take(view.members.list);
    const { coordinator } = view;
    if (coordinator) {
      // Its own place of an earlier run, or one that it is just leaving, means nothing to it.
      if (coordinator.node_id !== this.options.id) this.see(coordinator, asked);
      return;
    }
    this.forget();
    this.standAt ??= this.now.monotonic + this.delay(view.successor);
    if (this.mayStand() && this.now.monotonic >= this.standAt) await this.stand(clusterId, view);
  }

  private see({ node_id, term, since }: CoordinatorSeen, asked: Moment): void {
    this.standAt = undefined;
    if (term > this.state.term) this.options.state.update({ term, vote: null });
    const known = this.seen?.coordinator;
    this.seen = { coordinator: { node_id, term, since }, asked };
    if (known?.term !== term) this.tell({ kind: 'followed', term, node_id });
  }

  private forget(): void {
    if (!this.seen) return;
    const { node_id, term } = this.seen.coordinator;
    this.seen = undefined;
    this.tell({ kind: 'lost', term, node_id });
  }

  private mayStand(): boolean {
    const listed = find(this.state.list, this.options.id);
    return (
      this.trusted &&
      listed?.role === 'node' &&
      listed.instance_id === this.state.instance_id &&
      whyUnfit(listed) === undefined &&
      this.options.standing().healthy
    );
  }

  /** Priority only delays standing; a successor that was named goes first. */
  private delay(successor?: string): number {
    if (successor === this.options.id) return 0;
    const turn = this.options.standing().rank * RANK_MS + this.options.random() * JITTER_MS;
    return turn + (successor === undefined ? 0 : COURTESY_MS);
  }

  private async stand(clusterId: string, { members, revision }: View): Promise<void> {
    const { store, id, state, clock } = this.options;
    this.tell({ kind: 'standing', term: revision + 1 });
    const asked = this.now;
    const { lease, ttl } = await store.grant(this.options.settings().lease);
    try {
      const claim = { node_id: id, since: asked.wall, lease };
      const term = await store.claim(clusterId, claim, members ? undefined : this.state.list);
      if (term !== undefined && this.state.cluster_id === clusterId) {
        state.update({ term, vote: null });
        const onList = (list: MemberList): void => this.take(list);
        this.reign = new Reign({ id, clusterId, term, lease, ttl, asked, state, store, clock, onList });
      }
    } finally {
      // Somebody was faster, or it is not known whether the claim came through: nothing stays behind.
      if (!this.reign) await store.revoke(lease).catch(() => {});
    }
    this.standAt = this.now.monotonic + this.delay();
    if (this.reign) this.show(this.reign);
  }

  // --- coordinator -----------------------------------------------------------------------------------------

  private show(reign: Reign): void {
    if (reign.shown || !reign.holds()) return;
    reign.shown = true;
    this.tell({ kind: 'elected', term: reign.term });
  }

  private async renew(reign: Reign): Promise<void> {
    const outcome = await reign.renew();
    if (this.reign !== reign) return; // it resigned meanwhile
    if (outcome === 'gone') this.end(reign, 'its lease ran out');
    else if (outcome === 'renewed') {
      this.uncertain = false;
      this.show(reign);
    }
  }

  private end(reign: Reign, reason: string): void {
    reign.end();
    this.reign = undefined;
    this.uncertain = false;
    this.standAt = this.now.monotonic + this.delay();
    if (reign.shown) this.tell({ kind: 'ended', term: reign.term, reason });
  }

  private async letGo(reign: Reign, reason: string, successor?: string): Promise<void> {
    this.end(reign, reason);
    this.standAt = this.now.monotonic + this.options.settings().lease + this.delay(successor);
    const how = successor === undefined ? {} : { successor };
    await this.options.store.release(reign.clusterId, reign, how);
  }

  private tell(event: ElectionEvent): void {
    this.options.onChange(event);
  }
}
