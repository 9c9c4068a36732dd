/** Who coordinates, decided by an etcd cluster: keeps the rounds going, tells when etcd is away, refuses to vote. */
import { EtcdClient } from '../etcd/client.ts';
import type { EtcdConfig } from '../etcd/credentials.ts';
import { EtcdElection } from '../etcd/election.ts';
import { EtcdStore } from '../etcd/store.ts';
import type { CoordinatorSeen } from '../cluster/voter.ts';
import { type Listed, voters } from '../cluster/list.ts';
import type { Member } from '../cluster/member.ts';
import type { Answer, Request } from '../cluster/messages.ts';
import { SteepError } from '../lib/errors.ts';
import type { Decided, Proposal } from '../operations/coordination.ts';
import type { Issue } from '../operations/subject.ts';
import type { Platform } from '../platform/index.ts';
import { BuiltinCoordination, type BuiltinCoordinationOptions } from './builtin-coordination.ts';
import type { RunningCoordination } from './coordination.ts';
import { type Loop, startLoop } from './loop.ts';
import { change, examine } from './proposals.ts';

export interface EtcdCoordinationOptions extends BuiltinCoordinationOptions {
  etcd: EtcdConfig;
  platform: Pick<Platform, 'readableByOthers'>;
}

/** How often the clocks are looked at; a small part of the shortest lease. */
const TICK_MS = 50;
/** A member of etcd that does not answer may cost this part of the lease, but no less than SHORTEST_MS. */
const PARTS = 5;
const SHORTEST_MS = 200;
/** Beside the lease: that long nobody need worry that there is no coordinator. */
const PATIENCE_MS = 5000;
/** How long somebody who decides otherwise is remembered. */
const OTHERWISE_MS = 30_000;
const REWATCH_MS = 1000;

/** The store that the configuration asks for. */
export function coordinationFor(
  options: BuiltinCoordinationOptions & Pick<EtcdCoordinationOptions, 'platform'>,
): RunningCoordination {
  const { store, etcd } = options.config().election;
  if (store === 'builtin' || etcd === undefined) return new BuiltinCoordination(options);
  return new EtcdCoordination({ ...options, etcd });
}

export class EtcdCoordination implements RunningCoordination {
  private readonly options: EtcdCoordinationOptions;
  private readonly client: EtcdClient;
  private readonly store: EtcdStore;
  private readonly election: EtcdElection;
  private readonly stopping = new AbortController();
  /** Ends the watch of one cluster's keys. */
  private watching = new AbortController();
  private readonly loops: Loop[] = [];
  private timer: ReturnType<typeof setInterval> | undefined;
  /** Of the monotonic clock. */
  private lastAnswer = -Infinity;
  private lastCoordinator = -Infinity;
  private failure: SteepError | undefined;
  /** What the log says at the moment. */
  private told: string | undefined;
  private otherwise: { node: string; at: number } | undefined;

  constructor(options: EtcdCoordinationOptions) {
    const { cluster, state, config, standing, onEvent, etcd, platform } = options;
    this.options = options;
    this.client = new EtcdClient({
      config: etcd,
      platform,
      timeout: () => Math.max(SHORTEST_MS, config().election.lease / PARTS),
    });
    this.store = new EtcdStore(this.client, etcd.prefix);
    this.election = new EtcdElection({
      id: cluster.self.node_id,
      state,
      store: this.store,
      clock: () => ({ monotonic: performance.now(), wall: Date.now() }),
      random: Math.random,
      settings: () => ({ lease: config().election.lease, interval: config().heartbeat.interval }),
      standing,
      onChange: onEvent,
    });
  }

  start(): void {
    this.lastAnswer = performance.now();
    this.lastCoordinator = performance.now();
    this.timer = setInterval(() => this.tick(), TICK_MS);
    const rounds = startLoop(
      () => this.round(),
      () => this.election.pause,
    );
    const watch = startLoop(
      () => this.watch(rounds),
      () => REWATCH_MS,
    );
    this.loops.push(rounds, watch);
  }

  trust(): void {
    this.election.trust();
  }

  leave(): void {
    // What is left in etcd of a cluster that nobody belongs to does no harm.
    void this.election.startOver().catch(() => {});
    this.watching.abort();
  }

  async resign(reason: string): Promise<void> {
    await this.election.resign(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping.abort();
    clearInterval(this.timer);
    this.client.close();
    await Promise.all(this.loops.map((loop) => loop[Symbol.asyncDispose]()));
  }

  get coordinator(): CoordinatorSeen | undefined {
    return this.election.coordinator;
  }

  get term(): number {
    return this.options.state.current.term;
  }

  voters(): string[] {
    return voters(this.options.cluster.list).map(({ node_id }) => node_id);
  }

  handle(from: string, _request: Request): Answer {
    this.otherwise = { node: from, at: performance.now() };
    throw new SteepError('CONFLICT', `${this.options.cluster.self.node_id} does not vote: decided by etcd`, {
      hint: 'election.store must be the same on all nodes',
    });
  }

  async change(proposal: Proposal, node?: Member): Promise<Decided> {
    const { cluster, clientOf } = this.options;
    return await change(
      {
        cluster,
        clientOf,
        coordinator: () => this.coordinator,
        decide: (...what) => this.decide(...what),
        take: (list) => this.election.take(list),
        stopped: () => this.stopping.signal.aborted,
      },
      proposal,
      node,
    );
  }

  async decide(clusterId: string, proposal: Proposal, node: Member | undefined): Promise<Decided> {
    const { cluster } = this.options;
    examine(cluster, clusterId, proposal, node);
    if (proposal.kind === 'transfer') {
      this.election.requireReign();
      if (proposal.node_id !== cluster.self.node_id) this.requireSuccessor(proposal.node_id);
      await this.election.transfer(proposal.node_id);
      return { term: this.term, list: cluster.list };
    }
    return { list: await this.election.change(proposal), term: this.term };
  }

  issues(): Issue[] {
    const { cluster } = this.options;
    const issues: Issue[] = [];
    const now = performance.now();
    if (this.otherwise && now - this.otherwise.at < OTHERWISE_MS)
      issues.push({
        severity: 'error',
        message: `${this.otherwise.node} asks for votes, but here etcd decides: there may be two coordinators`,
        hint: 'set election.store to the same on all nodes, and restart them',
      });
    if (cluster.id === null || cluster.removed) return issues;
    const problem = this.election.distrust ?? (this.isSilent ? this.failure : undefined);
    if (problem)
      issues.push({
        severity: 'warning',
        message: `no coordinator: ${problem.message}`,
        hint: problem.hint ?? null,
      });
    else if (!this.coordinator && now - this.lastCoordinator > this.election.ttl + PATIENCE_MS)
      issues.push({
        severity: 'warning',
        message: 'no coordinator: no node that may stand has taken the place',
        hint: 'steep-repl nodes list',
      });
    return issues;
  }

  /** Whether etcd has not answered for longer than anything that it confirmed counts. */
  private get isSilent(): boolean {
    return performance.now() - this.lastAnswer > this.election.ttl;
  }

  /** Throws CONFLICT when this node could not take over at once. */
  private requireSuccessor(id: string): void {
    const { cluster } = this.options;
    const listed = cluster.listed(id);
    if (!listed || listed.state === 'removed')
      throw new SteepError('NODE_NOT_FOUND', `there is no node '${id}'`, { hint: 'steep-repl nodes list' });
    const peer = cluster.peer(id);
    const silent = peer === undefined || peer.seen === 'unreachable' || peer.seen === 'unknown';
    const why =
      whyNoSuccessor(listed) ??
      (silent ? 'it does not answer' : undefined) ??
      (peer?.postgresqlConnected === false ? 'its PostgreSQL is away' : undefined);
    if (why !== undefined)
      throw new SteepError('CONFLICT', `${id} cannot take over: ${why}`, { hint: 'steep-repl nodes list' });
  }

  private async round(): Promise<void> {
    if (this.stopping.signal.aborted) return;
    try {
      await this.election.round();
      this.lastAnswer = performance.now();
      this.failure = undefined;
    } catch (thrown) {
      this.failure = SteepError.from(thrown);
    }
  }

  /** A change in etcd is looked at when it happens, and not only at the next round. */
  private async watch(rounds: Loop): Promise<void> {
    const { id } = this.options.cluster;
    if (id === null) return;
    const { key, rangeEnd } = this.store.range(id);
    this.watching = new AbortController();
    const either = AbortSignal.any([this.stopping.signal, this.watching.signal]);
    await this.client.watch(key, rangeEnd, () => rounds.wake(), either);
  }

  private tick(): void {
    if (this.coordinator) this.lastCoordinator = performance.now();
    this.election.tick();
    const problem = this.election.distrust ?? (this.isSilent ? this.failure : undefined);
    // Which member said what differs from round to round: only that there is a problem is news.
    const now = problem?.code;
    if (now === this.told) return;
    this.told = now;
    const { log } = this.options;
    if (problem) log.warn('no word from etcd that counts', { error: problem.message, hint: problem.hint });
    else log.info('etcd answers again');
  }
}

function whyNoSuccessor({ role, state, vote }: Listed): string | undefined {
  if (role !== 'node') return 'it has no PostgreSQL';
  if (state === 'offline') return 'it is offline';
  return vote === 'yes' ? undefined : 'it does not vote';
}
