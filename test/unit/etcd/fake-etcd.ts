/** An etcd in memory, with a clock that tests turn, answers that can be late, and nodes that ask it. */
import type { ElectionEvent, Standing } from '../../../src/cluster/election.ts';
import { foundersList, type Listed, type MemberList } from '../../../src/cluster/list.ts';
import { Durable } from '../../../src/cluster/state.ts';
import { EtcdElection } from '../../../src/etcd/election.ts';
import type { Holder, Renewed, Store, View } from '../../../src/etcd/store.ts';
import { SteepError } from '../../../src/lib/errors.ts';

export const CLUSTER = '11111111-1111-4111-8111-111111111111';

export class FakeEtcd implements Store {
  /** Milliseconds. */
  now = 1_000_000;
  revision = 100;
  down = false;
  certain = true;
  /** Whether the next transaction is done although its answer gets lost. */
  losesAnswer = false;
  /** What each call waits for before it is done, and before it is answered. */
  delay: () => Promise<void> = async () => {};
  members: View['members'];
  successor: string | undefined;
  private holder: Holder | undefined;
  private readonly leases = new Map<bigint, { until: number; ttl: number }>();
  private lastLease = 0n;

  /** Who has the place at this moment. */
  get coordinator(): Holder | undefined {
    const lease = this.holder && this.leases.get(this.holder.lease);
    if (!lease || lease.until <= this.now) this.holder = undefined;
    return this.holder;
  }

  look = () => this.answer(() => this.view());

  grant = (ms: number) =>
    this.answer(() => {
      this.lastLease += 1n;
      const ttl = Math.ceil(ms / 1000) * 1000;
      this.leases.set(this.lastLease, { until: this.now + ttl, ttl });
      return { lease: this.lastLease, ttl };
    });

  claim = (_id: string, claim: Omit<Holder, 'term'>, founding: MemberList | undefined) =>
    this.answer(() => {
      const lease = this.leases.get(claim.lease);
      if (!lease || lease.until <= this.now) throw new SteepError('CANNOT_CONNECT', 'no such lease');
      if (this.coordinator || (founding && this.members)) return undefined;
      this.revision += 1;
      this.holder = { ...claim, term: this.revision };
      this.successor = undefined;
      if (founding) this.members = { list: founding, revision: this.revision };
      return this.revision;
    });

  renew = (_id: string, id: bigint) =>
    this.answer((): Renewed => {
      const lease = this.leases.get(id);
      const alive = lease !== undefined && lease.until > this.now;
      if (alive && this.certain) lease.until = this.now + lease.ttl;
      return { alive, certain: this.certain, view: this.view() };
    });

  write = (_id: string, term: number, list: MemberList, revision: number) =>
    this.answer(() => {
      if (this.coordinator?.term !== term || (this.members?.revision ?? 0) !== revision) return this.view();
      this.revision += 1;
      this.members = { list, revision: this.revision };
      return this.revision;
    });

  release = (
    _id: string,
    { term, lease }: Pick<Holder, 'term' | 'lease'>,
    { successor }: { successor?: string },
  ) =>
    this.answer(() => {
      if (this.coordinator?.term === term) {
        this.revision += 1;
        this.holder = undefined;
        this.successor = successor;
      }
      this.leases.delete(lease);
    });

  revoke = (lease: bigint) => this.answer(() => void this.leases.delete(lease));

  private view(): View {
    const { revision, coordinator, members, successor } = this;
    return { revision, coordinator, members, successor };
  }

  private async answer<T>(act: () => T): Promise<T> {
    await this.delay();
    if (this.down) throw new SteepError('CANNOT_CONNECT', 'etcd does not answer');
    const result = act();
    await this.delay();
    if (!this.losesAnswer) return result;
    this.losesAnswer = false;
    throw new SteepError('CANNOT_CONNECT', 'the answer was lost');
  }
}

/** One node that asks it; its clocks run with etcd's unless a test says otherwise. */
export class FakeNode {
  readonly events: ElectionEvent[] = [];
  readonly state: Durable;
  readonly election: EtcdElection;
  readonly clocks = { monotonic: 0, wall: 0, speed: 1 };
  standing: Standing;

  constructor(etcd: FakeEtcd, id: string, list: MemberList, rank = 0) {
    this.standing = { healthy: true, rank };
    this.state = new Durable(
      {
        instance_id: `instance of ${id}`,
        serial: 0,
        cluster_id: CLUSTER,
        term: 0,
        vote: null,
        list,
        longest_promise: 0,
        members: [],
      },
      () => {},
    );
    this.election = new EtcdElection({
      id,
      state: this.state,
      store: etcd,
      clock: () => ({
        monotonic: (etcd.now - 1_000_000) * this.clocks.speed + this.clocks.monotonic,
        wall: etcd.now * this.clocks.speed + this.clocks.wall,
      }),
      random: () => 0.5,
      settings: () => ({ lease: 3000, interval: 1000 }),
      standing: () => this.standing,
      onChange: (event) => this.events.push(event),
    });
    this.election.trust();
  }

  /** A round, whatever comes of it. */
  async round(): Promise<void> {
    this.election.tick();
    await this.election.round().catch(() => {});
    this.election.tick();
  }

  /** What was told last of who coordinates. */
  get told(): string | undefined {
    return this.events.findLast(({ kind }) => kind !== 'standing' && kind !== 'list')?.kind;
  }
}

export function listOf(...ids: string[]): MemberList {
  const nodes = ids.map((id): Listed => ({
    node_id: id,
    instance_id: `instance of ${id}`,
    role: 'node',
    state: 'member',
    vote: 'yes',
  }));
  return { ...foundersList(nodes[0]!), nodes };
}
