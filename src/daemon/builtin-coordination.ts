/** Who coordinates, decided by the nodes themselves: carries the election's requests, and asks the coordinator. */
import type { Cluster } from '../cluster/cluster.ts';
import { Election, type ElectionEvent, type Standing } from '../cluster/election.ts';
import { type MemberList, voters } from '../cluster/list.ts';
import type { Member } from '../cluster/member.ts';
import type { Answer, Request } from '../cluster/messages.ts';
import type { Durable } from '../cluster/state.ts';
import type { CoordinatorSeen } from '../cluster/voter.ts';
import type { Config } from '../config/schema.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Decided, Proposal } from '../operations/coordination.ts';
import type { PeerClient } from '../rpc/client.ts';
import { ask } from '../rpc/ask.ts';
import type { RunningCoordination } from './coordination.ts';
import { change, DECIDE_MS, examine } from './proposals.ts';
import { wasTold } from './state-disk.ts';

export interface BuiltinCoordinationOptions {
  cluster: Cluster;
  state: Durable;
  config: () => Config;
  standing: () => Standing;
  clientOf: (id: string) => PeerClient | undefined;
  /** A line for one call, to a node that belongs no more: until all know that, its vote counts. */
  dial: (id: string) => PeerClient | undefined;
  onEvent: (event: ElectionEvent) => void;
  log: Logger;
}

/** How often the machine looks at its clocks; a small part of the shortest lease. */
const TICK_MS = 100;

export class BuiltinCoordination implements RunningCoordination {
  private readonly election: Election;
  private readonly options: BuiltinCoordinationOptions;
  private timer: ReturnType<typeof setInterval> | undefined;
  private complaint: string | undefined;
  private stopped = false;

  constructor(options: BuiltinCoordinationOptions) {
    const { cluster, state, config, standing, onEvent } = options;
    this.options = options;
    this.election = new Election({
      id: cluster.self.node_id,
      state,
      clock: () => ({ monotonic: performance.now(), wall: Date.now() }),
      random: Math.random,
      settings: () => ({
        lease: config().election.lease,
        interval: config().heartbeat.interval,
        twoNode: config().election.two_node,
      }),
      standing,
      isSilent: (id) => cluster.peer(id)?.seen === 'unreachable',
      send: (to, request) => void this.send(to, request),
      onChange: onEvent,
    });
  }

  start(): void {
    this.timer = setInterval(() => this.guarded(() => this.election.tick()), TICK_MS);
  }

  trust(): void {
    this.election.trust();
  }

  leave(): void {
    this.election.startOver();
  }

  async resign(reason: string): Promise<void> {
    this.guarded(() => this.election.resign(reason));
    await Bun.sleep(0); // the requests have left
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    clearInterval(this.timer);
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

  handle(from: string, request: Request): Answer {
    return this.election.handle(from, request);
  }

  async change(proposal: Proposal, node?: Member): Promise<Decided> {
    const { cluster, clientOf } = this.options;
    return await change(
      {
        cluster,
        clientOf,
        coordinator: () => this.election.coordinator,
        decide: (...what) => this.decide(...what),
        take: (list) => this.election.take(list),
        stopped: () => this.stopped,
      },
      proposal,
      node,
    );
  }

  async decide(clusterId: string, proposal: Proposal, node: Member | undefined): Promise<Decided> {
    const { cluster } = this.options;
    examine(cluster, clusterId, proposal, node);
    if (proposal.kind === 'transfer') {
      this.election.transfer(proposal.node_id);
      return this.decided(cluster.list);
    }
    return await new Promise<Decided>((resolve, reject) => {
      const late = setTimeout(() => {
        reject(
          new SteepError(
            'TIMEOUT',
            `no majority has stored it within ${DECIDE_MS / 1000} s; it may still come`,
            {
              hint: 'steep-repl nodes list',
            },
          ),
        );
      }, DECIDE_MS);
      this.election.change(proposal, (outcome) => {
        clearTimeout(late);
        if (outcome instanceof SteepError) reject(outcome);
        else resolve(this.decided(outcome));
      });
    });
  }

  private decided(list: MemberList): Decided {
    return { term: this.term, list };
  }

  private async send(to: string, request: Request): Promise<void> {
    const { clientOf, dial, cluster, config, log } = this.options;
    const line = clientOf(to);
    const client = line ?? dial(to);
    if (!client) return;
    try {
      const answer = await ask(client, cluster.self.node_id, request, config().election.lease / 2);
      if (!this.stopped) this.guarded(() => this.election.answered(to, request, answer));
    } catch (error) {
      log.debug('no answer', { peer: to, asked: request.kind, error: messageOf(error) });
    } finally {
      if (!line) client.close();
    }
  }

  /** What the disk refuses has not happened; the disk has told. */
  private guarded(what: () => void): void {
    try {
      what();
      this.complaint = undefined;
    } catch (error) {
      if (wasTold(error)) return;
      const message = messageOf(error);
      if (message !== this.complaint) this.options.log.error('a decision failed', { error: message });
      this.complaint = message;
    }
  }
}
