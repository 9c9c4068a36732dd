/** A node of the simulation: its disk, its clocks, and the process that runs at the moment. */
import { Election, type ElectionEvent } from '../../src/cluster/election.ts';
import { find, type MemberList, NO_LIST } from '../../src/cluster/list.ts';
import type { Request } from '../../src/cluster/messages.ts';
import type { Moment } from '../../src/cluster/rules.ts';
import type { Rules } from '../../src/cluster/rules.ts';
import { type ClusterState, Durable } from '../../src/cluster/state.ts';
import type { Random } from './random.ts';

const LEASE = 3000;
const LONGEST = 4500;
export const INTERVAL = 1000;
export const CLUSTER = 'c1';

/** What a process dies of in the middle of a write. */
export class Crash extends Error {}

/** Rules that are broken not by another function but by a disk or a memory that forgets. */
export interface Faults {
  /** The disk loses the vote. */
  forgetsVotes?: boolean;
  /** Nobody looks whether the state is an old copy. */
  trustsOldCopies?: boolean;
}

export interface World {
  readonly now: number;
  readonly random: Random;
  readonly rules: Rules;
  readonly faults: Faults;
  readonly slowDisks: boolean;
  /** Whether nodes are configured with leases of their own. */
  readonly leasesDiffer: boolean;
  send(from: SimNode, to: string, request: Request, delay: number): void;
  told(node: SimNode, event: ElectionEvent): void;
  wrote(before: MemberList, list: MemberList): void;
}

export class SimNode {
  readonly id: string;
  readonly role: 'node' | 'witness';
  readonly rank: number;
  /** Milliseconds. */
  readonly lease: number;
  disk: ClusterState;
  /** What PostgreSQL remembers of the disk: which copy, and how many writes. */
  mirror: { instance_id: string; serial: number } | undefined;
  /** Earlier contents of the disk. */
  readonly backups: ClusterState[] = [];
  /** Its last few contents, the youngest last. */
  readonly writes: ClusterState[] = [];
  process: Election | undefined;
  healthy = true;
  /** Busy, frozen or asleep until then; what arrives waits. */
  awayUntil = 0;
  private readonly world: World;
  private readonly rate: number;
  private asleepFor = 0;
  private asleepSince: number | undefined;
  private wallOffset: number;
  private wallJumped = -Infinity;
  private stall = 0;
  private instances = 0;

  constructor(world: World, id: string, role: 'node' | 'witness', rank: number) {
    this.world = world;
    this.id = id;
    this.role = role;
    this.rank = rank;
    this.rate = world.random.between(0.95, 1.05);
    this.wallOffset = world.random.between(-1e6, 1e6);
    this.lease = world.leasesDiffer ? world.random.between(2 * INTERVAL, LONGEST) : LEASE;
    this.disk = this.blank();
  }

  blank(): ClusterState {
    this.instances += 1;
    return {
      instance_id: `${this.id}/${this.instances}`,
      serial: 0,
      cluster_id: null,
      term: 0,
      vote: null,
      list: NO_LIST,
      longest_promise: 0,
      members: [],
    };
  }

  readonly clock = (): Moment => {
    const now = this.world.now + this.stall;
    const asleep = this.asleepFor + (this.asleepSince === undefined ? 0 : now - this.asleepSince);
    return { monotonic: (now - asleep) * this.rate, wall: now * this.rate + this.wallOffset };
  };

  /**
   * The machine sleeps: one of its clocks stands still. Not while the other has just been set back: who does both
   * within one lease leaves no clock that tells (docs/cluster.md says so).
   */
  sleepUntil(at: number): void {
    if (this.world.now - this.wallJumped < 2 * LONGEST) return;
    if (this.asleepSince === undefined) this.asleepSince = this.world.now;
    this.awayUntil = Math.max(this.awayUntil, at);
  }

  wake(): void {
    if (this.asleepSince === undefined || this.world.now < this.awayUntil) return;
    this.asleepFor += this.world.now - this.asleepSince;
    this.asleepSince = undefined;
  }

  get asleep(): boolean {
    return this.asleepSince !== undefined;
  }

  jumpWall(by: number): void {
    if (this.asleep) return;
    this.wallJumped = this.world.now;
    this.wallOffset += by;
  }

  start(): void {
    const { world } = this;
    const state: Durable = new Durable(structuredClone(this.disk), (fresh) => {
      if (this.state !== state) throw new Crash(); // whoever is dead writes no more
      this.write(fresh);
    });
    this.process = new Election({
      id: this.id,
      state,
      clock: this.clock,
      random: world.random.next,
      settings: () => ({ lease: this.lease, interval: INTERVAL, twoNode: 'safe' }),
      standing: () => ({ healthy: this.healthy && this.role === 'node', rank: this.rank }),
      isSilent: () => false,
      send: (to, request) => world.send(this, to, request, this.stall),
      onChange: (event) => world.told(this, event),
      rules: world.rules,
    });
    this.state = state;
    this.trusted = false;
    this.looksAt = world.now + (world.random.chance(0.7) ? 0 : world.random.between(0, 2 * LEASE));
    this.look();
  }
  state: Durable | undefined;

  /** Asks its PostgreSQL, as soon as that answers, whether the disk is an old copy; a witness has nobody to ask. */
  look(): void {
    const { world, mirror, state } = this;
    if (this.trusted || world.now < this.looksAt || !state) return;
    if (!this.healthy && this.role === 'node') return;
    if (mirror && !world.faults.trustsOldCopies && this.isOldCopy(mirror))
      this.act(() => state.update({ instance_id: this.blank().instance_id }));
    if (this.state === state) this.act(() => state.believe());
    if (this.state !== state) return; // its disk ended it
    this.replaced = false;
    this.trusted = true;
    this.process?.trust();
  }
  trusted = false;
  private looksAt = 0;

  /** The disk is put back as it was, under the old name, until the node has found that out. */
  restore(disk: ClusterState): void {
    this.stop();
    this.disk = disk;
    this.replaced = true;
    this.start();
  }
  replaced = false;

  stop(): void {
    this.process = undefined;
    this.state = undefined;
  }

  /** Runs what the process does; what its disk takes, it is away. */
  act(what: (process: Election) => void): void {
    if (!this.process) return;
    this.stall = 0;
    try {
      what(this.process);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
    }
    this.awayUntil = Math.max(this.awayUntil, this.world.now + this.stall);
    this.stall = 0;
  }

  /** Whether it is, at this moment, a coordinator whose lease runs. */
  get reigns(): boolean {
    return this.process?.reigns === true;
  }

  mirrorNow(): void {
    const { instance_id, serial } = this.disk;
    if (this.healthy && this.trusted && this.process) this.mirror = { instance_id, serial };
  }

  private isOldCopy({ instance_id, serial }: NonNullable<SimNode['mirror']>): boolean {
    return instance_id !== this.disk.instance_id || serial > this.disk.serial;
  }

  private write(fresh: ClusterState): void {
    const { random, faults, slowDisks } = this.world;
    this.stall += slowDisks && random.chance(0.05) ? random.between(100, 4000) : random.between(0.5, 5);
    if (this.crashAt === 'before') this.die();
    if (random.chance(0.2)) this.backups.push(this.disk);
    this.writes.push(this.disk);
    if (this.writes.length > 4) this.writes.shift();
    const { list } = this.disk;
    this.disk = faults.forgetsVotes ? { ...fresh, vote: null, term: this.disk.term } : fresh;
    if (fresh.list !== list) this.world.wrote(list, fresh.list);
    if (this.crashAt === 'after') this.die();
  }
  /** Where the next write shall end the process. */
  crashAt: 'before' | 'after' | undefined;

  private die(): never {
    this.crashAt = undefined;
    this.stop(); // whoever catches this is dead, and heard by nobody
    throw new Crash();
  }

  get votes(): boolean {
    const listed = find(this.disk.list, this.id);
    return listed?.vote === 'yes' && listed.instance_id === this.disk.instance_id;
  }
}
