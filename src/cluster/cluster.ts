/**
 * This node's part in a cluster: its identity, what it knows of the others, and how they are. Pure: what must
 * survive goes through `state` before anything is answered that depends on it, time comes from `now`.
 *
 * A cluster has an id. A node founds one, or joins that of a peer; joining gives up a cluster of its own in which
 * it was alone. Nobody leaves a cluster of several for another one. Who belongs, the list says, which only the
 * coordinator changes (election.ts); this file asks for a change, and takes over what came of it.
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
import { belonging, type Change, compare, find, foundersList, type Listed, type MemberList } from './list.ts';
import { type Member, type NodeFacts, sameFacts } from './member.ts';
import { Registry } from './registry.ts';
import type { Durable } from './state.ts';

export interface ClusterOptions {
  self: NodeFacts;
  /** Whether this node is to vote: told when it joins, and fixed then. */
  votes: boolean;
  state: Durable;
  /** Milliseconds that never go back. */
  now: () => number;
  /** As `now`, but without the time in which this process stood still: no peer's silence then says anything. */
  awake?: () => number;
  thresholds: () => Thresholds;
  /** Ids that may register; undefined: every one that has a certificate. */
  allow: readonly string[] | undefined;
}

export interface Peer {
  member: Member;
  /** What is seen of it, whatever an operator said. */
  seen: PeerStatus;
  status: PeerStatus | 'offline';
  /** Milliseconds; undefined before the first answer. */
  roundTrip: number | undefined;
  /** Milliseconds since the last answer. */
  silence: number;
  /** Why the last call failed. */
  failure: string | undefined;
  /** What it said of its PostgreSQL; undefined if it said nothing. */
  postgresqlConnected: boolean | undefined;
}

/** A node that asks to be known. */
export interface Registration {
  member: Member;
  /** Empty: it belongs to none yet. */
  clusterId: string;
  votes: boolean;
}

/** What a node is told that was let in. */
export interface Joined {
  clusterId: string;
  term: number;
  list: MemberList;
  members: readonly Member[];
}

export class Cluster {
  readonly registry: Registry;
  private readonly options: ClusterOptions;
  private readonly signs = new Map<string, PeerSigns>();
  /** What `members` answered last, and from what: every answer of a daemon asks for it. */
  private known: { list: MemberList; version: number; members: readonly Member[] } | undefined;
  /** By `now`, when each peer answered last. */
  private readonly answers = new Map<string, number>();
  /** Whether a peer refused this node because it was removed: the own list cannot say so. */
  private shutOut = false;
  /** Whether this node is just asking another one to let it in. */
  private joining = false;

  constructor(options: ClusterOptions) {
    this.options = options;
    const { instance_id, members } = options.state.current;
    this.registry = new Registry({ ...options.self, instance_id }, members);
  }

  /** Null: belongs to none yet. */
  get id(): string | null {
    return this.options.state.current.cluster_id;
  }

  get instanceId(): string {
    return this.options.state.current.instance_id;
  }

  get list(): MemberList {
    return this.options.state.current.list;
  }

  get self(): Member {
    return this.registry.self;
  }

  get votes(): boolean {
    return this.options.votes;
  }

  listed(id: string): Listed | undefined {
    return find(this.list, id);
  }

  /** Those who belong and of whom something is known, this node included; by id. */
  members(): readonly Member[] {
    const { list, registry } = this;
    if (this.known?.list !== list || this.known.version !== registry.version) {
      const ids = new Set(belonging(list).map(({ node_id }) => node_id));
      const members = registry
        .all()
        .filter(({ node_id }) => ids.has(node_id) || node_id === this.self.node_id)
        .sort((a, b) => (a.node_id < b.node_id ? -1 : 1));
      this.known = { list, version: registry.version, members };
    }
    return this.known.members;
  }

  /** Whether it was a node of this cluster, and is none any more. */
  belongedOnce(id: string): boolean {
    const listed = this.listed(id);
    return listed === undefined ? this.registry.find(id) !== undefined : listed.state === 'removed';
  }

  /** Whether this node is alone in its cluster, or in none. */
  get alone(): boolean {
    return belonging(this.list).every(({ node_id }) => node_id === this.self.node_id);
  }

  /** Whether this node learned that it was removed. */
  get removed(): boolean {
    return this.shutOut || this.listed(this.self.node_id)?.state === 'removed';
  }

  /** Stores what a start changed: new facts of this node. */
  save(): void {
    this.options.state.update({ members: this.registry.all() });
  }

  /** Throws what the disk throws. */
  found(clusterId: string): void {
    if (this.id !== null) return;
    const { node_id, role } = this.self;
    const list = foundersList({ node_id, role, instance_id: this.instanceId });
    this.options.state.update({ cluster_id: clusterId, term: 0, vote: null, list });
  }

  /** This node's memory of votes is lost or old: it is another copy from now on, which waits for `nodes readmit`. */
  disown(instanceId: string): void {
    this.registry.reissue(instanceId);
    this.options.state.update({ instance_id: instanceId, members: this.registry.all() });
  }

  peers(): Peer[] {
    const now = this.awake;
    return this.members()
      .filter(({ node_id }) => node_id !== this.self.node_id)
      .map((member) => this.seenAs(member, now));
  }

  /** One of them; undefined for this node itself and for whoever does not belong. */
  peer(id: string): Peer | undefined {
    const member =
      id === this.self.node_id ? undefined : this.members().find(({ node_id }) => node_id === id);
    return member && this.seenAs(member, this.awake);
  }

  /**
   * A node asks to be known: the change of the list that this takes, undefined for none. Throws PERMISSION_DENIED
   * for a removed or unwanted one, CONFLICT for another cluster's or a second living copy, NOT_CONNECTED while this
   * node belongs to no cluster itself, or is about to join another one.
   */
  admission({ member, clusterId, votes }: Registration): Change | undefined {
    const { node_id: id, instance_id, role } = member;
    this.refuseRemoved(id);
    this.refuseUnwanted(id);
    // Of two that join each other at one moment, one must wait for the other.
    if (this.id === null || (this.joining && this.alone && this.self.node_id > id))
      throw new SteepError('NOT_CONNECTED', `${this.self.node_id} belongs to no cluster yet`, {
        hint: 'join a node that founded one',
      });
    if (clusterId !== '' && clusterId !== this.id)
      throw new SteepError(
        'CONFLICT',
        `${id} belongs to cluster ${clusterId}, ${this.self.node_id} to ${this.id}`,
        {
          hint: 'remove it from its cluster first, or give it an empty state_dir',
        },
      );
    this.refuseSecondCopy(id, instance_id);
    const listed = this.listed(id);
    if (listed?.instance_id === instance_id) return undefined;
    return { kind: 'admit', node_id: id, instance_id, role, votes };
  }

  /** Throws CONFLICT while another copy of the node lives, as far as this one can tell. */
  refuseSecondCopy(id: string, instanceId: string): void {
    const known = this.listed(id)?.instance_id ?? '';
    if (known !== '' && known !== instanceId && this.heard(id))
      throw new SteepError('CONFLICT', `another living node has the id ${id}`, {
        hint: 'each node needs a node_id of its own; was a state_dir or a machine cloned?',
      });
  }

  /** Keeps the facts of a node that was let in; its row as it stands now. */
  register(incoming: Member): Member {
    const known = this.registry.find(incoming.node_id);
    const row = { ...incoming };
    // A new copy begins to count anew, and a peer that counts nothing always tells its newest facts.
    const uncounted = known && (known.instance_id !== incoming.instance_id || incoming.revision === 0);
    if (uncounted && !(known.instance_id === incoming.instance_id && sameFacts(known, row)))
      row.revision = Math.max(row.revision, known.revision + 1);
    this.learn([row]);
    return this.registry.find(incoming.node_id) ?? row;
  }

  /** Throws CONFLICT if this node is not alone any more in the cluster that it would give up. */
  requireAlone(clusterId: string): void {
    if (this.id !== clusterId && !this.alone)
      throw new SteepError(
        'CONFLICT',
        `${this.self.node_id} belongs to cluster ${this.id ?? ''}, in which it is not alone`,
      );
  }

  /** Runs what asks another node to let this one in; nobody is let in here meanwhile. */
  async whileJoining<T>(ask: () => Promise<T>): Promise<T> {
    this.joining = true;
    try {
      return await ask();
    } finally {
      this.joining = false;
    }
  }

  /** Takes over the cluster of a peer that let us in: its id, list, term and rows, in one step. Throws CONFLICT. */
  adopt({ clusterId, term, list, members }: Joined): void {
    this.requireAlone(clusterId);
    if (this.id === clusterId) {
      if (compare(list, this.list) > 0) this.options.state.update({ list });
      this.learn(members);
      return;
    }
    const rows = this.registry.all();
    this.registry.startOver();
    for (const member of members) this.registry.merge(member);
    try {
      this.options.state.update({
        cluster_id: clusterId,
        term,
        vote: null,
        list,
        members: this.registry.all(),
      });
    } catch (error) {
      this.registry.restore(rows);
      throw error;
    }
    this.shutOut = false;
  }

  /** Takes rows that a peer passed on; what cannot be stored was not taken. */
  learn(members: readonly Member[]): void {
    const { version } = this.registry;
    const rows = this.registry.all();
    for (const member of members) this.registry.merge(member);
    if (this.registry.version === version) return;
    try {
      this.options.state.update({ members: this.registry.all() });
    } catch (error) {
      this.registry.restore(rows);
      throw error;
    }
  }

  /** A peer that knows said whether this node was removed. */
  noteShutOut(shutOut: boolean): void {
    this.shutOut = shutOut;
  }

  /** Throws PERMISSION_DENIED if the node was removed. */
  refuseRemoved(id: string): void {
    if (this.listed(id)?.state === 'removed')
      throw new SteepError('PERMISSION_DENIED', `${id} was removed from the cluster`, {
        hint: `steep-repl nodes readmit ${id}`,
      });
  }

  /** Throws PERMISSION_DENIED for a node that neither belongs nor may join. */
  refuseUnwanted(id: string): void {
    const { allow } = this.options;
    // Removed ones too: elections believe a newer list that they bring until the removal is done.
    const belongs = (this.listed(id)?.state ?? 'removed') !== 'removed';
    if (allow !== undefined && !allow.includes(id) && !belongs)
      throw new SteepError('PERMISSION_DENIED', `${id} is not among the nodes that cluster.allow names`);
  }

  /** Milliseconds since a node answered, 0 for this one; undefined if it never did in this run. */
  answeredAgo(id: string): number | undefined {
    if (id === this.self.node_id) return 0;
    const lastAnswer = this.answers.get(id);
    return lastAnswer === undefined ? undefined : this.options.now() - lastAnswer;
  }

  /** A peer answered our heartbeat after `roundTrip` milliseconds. */
  noteAnswer(id: string, roundTrip: number): void {
    this.signs.set(id, answered(this.signsOf(id), this.awake, roundTrip));
    this.answers.set(id, this.options.now());
  }

  /** A call to a peer failed. */
  noteFailure(id: string, failure: string): void {
    this.signs.set(id, { ...this.signsOf(id), failure });
  }

  /** A peer told in its own heartbeat whether it has its PostgreSQL. */
  noteHeartbeat(id: string, postgresqlConnected: boolean | undefined): void {
    const lastHeartbeat = this.awake;
    this.signs.set(id, { ...this.signsOf(id), lastHeartbeat, postgresqlConnected });
  }

  /** The list is another one: the silence of a node that was removed says nothing when it comes back. */
  forgetStrangers(): void {
    const members = new Set(this.members().map(({ node_id }) => node_id));
    for (const those of [this.signs, this.answers])
      for (const id of those.keys()) if (!members.has(id)) those.delete(id);
  }

  /** Whether a node is known to live: it answered or spoke a moment ago, or is this one. */
  private heard(id: string): boolean {
    if (id === this.self.node_id) return true;
    const { lastAnswer = -Infinity, lastHeartbeat = -Infinity } = this.signsOf(id);
    const silence = this.awake - Math.max(lastAnswer, lastHeartbeat);
    return silence < this.options.thresholds().unreachableAfter;
  }

  private get awake(): number {
    return (this.options.awake ?? this.options.now)();
  }

  private seenAs(member: Member, now: number): Peer {
    const signs = this.signsOf(member.node_id);
    const seen = statusOf(signs, now, this.options.thresholds());
    return {
      member,
      seen,
      status: this.listed(member.node_id)?.state === 'offline' ? 'offline' : seen,
      roundTrip: signs.roundTrip,
      silence: now - (signs.lastAnswer ?? signs.watchedSince),
      failure: signs.failure,
      postgresqlConnected: signs.postgresqlConnected,
    };
  }

  private signsOf(id: string): PeerSigns {
    const known = this.signs.get(id) ?? newSigns(this.awake);
    this.signs.set(id, known);
    return known;
  }
}
