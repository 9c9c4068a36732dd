/**
 * This node's part in a cluster: its identity, the registry, and how the peers are. Pure: what must survive goes
 * through `store` before anything is answered that depends on it, time comes from `now`.
 *
 * A cluster has an id. A node founds one, or joins that of a peer; joining gives up a cluster of its own in which
 * it was alone. Nobody leaves a cluster of several for another one.
 */
import { SteepError } from '../lib/errors.ts';
import {
  answered,
  newSigns,
  type PeerSigns,
  type PeerStatus,
  statusOf,
  type Thresholds,
} from './detector.ts';
import { belongs, type Member, type NodeFacts, sameFacts } from './member.ts';
import { Registry } from './registry.ts';

/** What survives in state_dir. */
export interface ClusterState {
  instance_id: string;
  /** Null: belongs to no cluster yet. */
  cluster_id: string | null;
  members: Member[];
}

export interface ClusterOptions {
  self: NodeFacts;
  state: ClusterState;
  /** Durable when it returns; throws system errors, and then nothing has changed for anybody. */
  store: (state: ClusterState) => void;
  /** Milliseconds that never go back. */
  now: () => number;
  thresholds: () => Thresholds;
  /** Ids that may register; undefined: every one that has a certificate. */
  allow: readonly string[] | undefined;
}

export interface Peer {
  member: Member;
  status: PeerStatus;
  /** Milliseconds; undefined before the first answer. */
  roundTrip: number | undefined;
  /** Milliseconds since the last answer. */
  silence: number;
  /** Why the last call failed. */
  failure: string | undefined;
}

export class Cluster {
  readonly registry: Registry;
  readonly instanceId: string;
  private readonly options: ClusterOptions;
  private readonly signs = new Map<string, PeerSigns>();
  private clusterId: string | null;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.instanceId = options.state.instance_id;
    this.clusterId = options.state.cluster_id;
    this.registry = new Registry({ ...options.self, instance_id: this.instanceId }, options.state.members);
  }

  /** Null: belongs to none yet. */
  get id(): string | null {
    return this.clusterId;
  }

  get self(): Member {
    return this.registry.self;
  }

  /** Whether this node is alone in its cluster, or in none. */
  get alone(): boolean {
    return this.registry.members().every(({ node_id }) => node_id === this.self.node_id);
  }

  /** Whether this node learned that it was removed. */
  get removed(): boolean {
    return !belongs(this.self);
  }

  /** Stores what a start changed: new facts of this node. */
  save(): void {
    this.options.store({
      instance_id: this.instanceId,
      cluster_id: this.clusterId,
      members: this.registry.all(),
    });
  }

  found(clusterId: string): void {
    if (this.clusterId === null) this.commit(() => (this.clusterId = clusterId));
  }

  peers(): Peer[] {
    const now = this.options.now();
    return this.registry
      .members()
      .filter(({ node_id }) => node_id !== this.self.node_id)
      .map((member) => {
        const signs = this.signsOf(member.node_id);
        const silence = now - (signs.lastAnswer ?? signs.watchedSince);
        return {
          member,
          status: statusOf(signs, now, this.options.thresholds()),
          roundTrip: signs.roundTrip,
          silence,
          failure: signs.failure,
        };
      });
  }

  /**
   * A node asks to be known. Throws PERMISSION_DENIED for a removed or unwanted one, CONFLICT for another cluster's
   * or a second living copy, NOT_CONNECTED while this node belongs to no cluster itself. The row as it stands now.
   */
  register(incoming: Omit<Member, 'membership'>, clusterId: string): Member {
    const { node_id: id, instance_id: instance } = incoming;
    const { allow } = this.options;
    this.refuseRemoved(id);
    if (allow !== undefined && !allow.includes(id))
      throw new SteepError('PERMISSION_DENIED', `${id} is not among the nodes that cluster.allow names`);
    if (this.clusterId === null)
      throw new SteepError('NOT_CONNECTED', `${this.self.node_id} belongs to no cluster yet`, {
        hint: 'join a node that founded one',
      });
    if (clusterId !== '' && clusterId !== this.clusterId)
      throw new SteepError(
        'CONFLICT',
        `${id} belongs to cluster ${clusterId}, ${this.self.node_id} to ${this.clusterId}`,
        {
          hint: 'remove it from its cluster first, or give it an empty state_dir',
        },
      );
    const known = this.registry.find(id);
    if (known && known.instance_id !== instance && known.instance_id !== '' && this.heard(id))
      throw new SteepError('CONFLICT', `another living node has the id ${id}`, {
        hint: 'each node needs a node_id of its own; was a state_dir or a machine cloned?',
      });
    const row = { ...incoming, membership: known?.membership ?? 0 };
    // A new copy begins to count anew, and a peer that counts nothing always tells its newest facts.
    const uncounted = known && (known.instance_id !== instance || incoming.revision === 0);
    if (uncounted && !(known.instance_id === instance && sameFacts(known, row)))
      row.revision = Math.max(row.revision, known.revision + 1);
    this.commit(() => this.registry.merge(row));
    return this.registry.find(id) ?? row;
  }

  /**
   * Takes over the cluster of a peer that accepted us: its id and its rows, in one step. Throws CONFLICT if somebody
   * joined our own cluster meanwhile.
   */
  adopt(clusterId: string, members: readonly Member[]): void {
    if (this.clusterId !== clusterId && !this.alone)
      throw new SteepError(
        'CONFLICT',
        `${this.self.node_id} belongs to cluster ${this.clusterId ?? ''}, in which it is not alone`,
      );
    this.commit(() => {
      if (this.clusterId !== clusterId) this.registry.startOver();
      this.clusterId = clusterId;
      for (const member of members) this.registry.merge(member);
    });
  }

  /** Takes rows that a peer passed on. */
  learn(members: readonly Member[]): void {
    this.commit(() => {
      for (const member of members) this.registry.merge(member);
    });
  }

  /** Throws PERMISSION_DENIED if the node was removed. */
  refuseRemoved(id: string): void {
    const known = this.registry.find(id);
    if (known && !belongs(known))
      throw new SteepError('PERMISSION_DENIED', `${id} was removed from the cluster`, {
        hint: `steep-repl nodes readmit ${id}`,
      });
  }

  /** Throws NODE_NOT_FOUND. */
  remove(id: string): Member {
    return this.turn(() => this.registry.remove(id), `there is no node '${id}'`);
  }

  /** Throws NODE_NOT_FOUND when it was not removed. */
  readmit(id: string): Member {
    return this.turn(() => this.registry.readmit(id), `node '${id}' was not removed`);
  }

  private turn(change: () => Member | undefined, missing: string): Member {
    let turned: Member | undefined;
    this.commit(() => (turned = change()));
    if (!turned) throw new SteepError('NODE_NOT_FOUND', missing, { hint: 'steep-repl nodes list' });
    return turned;
  }

  /** Milliseconds since a node answered, 0 for this one; undefined if it never did in this run. */
  answeredAgo(id: string): number | undefined {
    if (id === this.self.node_id) return 0;
    const lastAnswer = this.signs.get(id)?.lastAnswer;
    return lastAnswer === undefined ? undefined : this.options.now() - lastAnswer;
  }

  /** A peer answered our heartbeat after `roundTrip` milliseconds. */
  noteAnswer(id: string, roundTrip: number): void {
    this.signs.set(id, answered(this.signsOf(id), this.options.now(), roundTrip));
  }

  /** A call to a peer failed. */
  noteFailure(id: string, failure: string): void {
    this.signs.set(id, { ...this.signsOf(id), failure });
  }

  /** A peer told in its own heartbeat whether it has its PostgreSQL. */
  noteHeartbeat(id: string, postgresqlConnected: boolean | undefined): void {
    const lastHeartbeat = this.options.now();
    this.signs.set(id, { ...this.signsOf(id), lastHeartbeat, postgresqlConnected });
  }

  /** Whether a node is known to live: it answered or spoke a moment ago, or is this one. */
  private heard(id: string): boolean {
    if (id === this.self.node_id) return true;
    const { lastAnswer = -Infinity, lastHeartbeat = -Infinity } = this.signsOf(id);
    const silence = this.options.now() - Math.max(lastAnswer, lastHeartbeat);
    return silence < this.options.thresholds().unreachableAfter;
  }

  private signsOf(id: string): PeerSigns {
    const known = this.signs.get(id) ?? newSigns(this.options.now());
    this.signs.set(id, known);
    return known;
  }

  /** Changes, and stores if anything is different now; what cannot be stored has not happened. */
  private commit(change: () => unknown): void {
    const before = { version: this.registry.version, rows: this.registry.all(), clusterId: this.clusterId };
    change();
    if (this.registry.version === before.version && this.clusterId === before.clusterId) return;
    try {
      this.save();
    } catch (error) {
      this.registry.restore(before.rows);
      this.clusterId = before.clusterId;
      throw error;
    }
    // The silence of a node that was removed says nothing when it comes back.
    const members = new Set(this.registry.members().map(({ node_id }) => node_id));
    for (const id of this.signs.keys()) if (!members.has(id)) this.signs.delete(id);
  }
}
