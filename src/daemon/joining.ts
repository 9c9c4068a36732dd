/** How this node comes into the cluster of another one: at the start by `cluster.join`, or when it is told to. */
import type { Cluster } from '../cluster/cluster.ts';
import type { Member } from '../cluster/member.ts';
import type { Config } from '../config/schema.ts';
import { SteepError } from '../lib/errors.ts';
import { formatHostPort, type HostPort, requireHostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';
import type { PeerClient } from '../rpc/client.ts';
import { listFrom } from '../rpc/convert-election.ts';
import { type Loop, startLoop } from './loop.ts';
import { membersOf, register } from './peer-link.ts';
import type { Peers } from './peers.ts';

export interface JoiningOptions {
  cluster: Cluster;
  peers: Peers;
  config: () => Config;
  /** This node gives up what it decided in the cluster that it leaves. */
  beforeAdopting: () => void;
  onLearned: () => void;
  log: Logger;
}

/** The coordinator may be just being chosen: longer than that takes. */
const REGISTER_MS = 10_000;
const HEALTH_MS = 2000;

export class Joining implements AsyncDisposable {
  private readonly options: JoiningOptions;
  private readonly clients = new Set<PeerClient>();
  private loop: Loop | undefined;
  private stopped = false;

  constructor(options: JoiningOptions) {
    this.options = options;
  }

  /** Tries these addresses, one after the other, until one lets this node in; its own is left out. */
  keepTrying(addresses: readonly string[]): void {
    const { cluster, log, config } = this.options;
    const others = addresses.filter((address) => address !== config().grpc.advertise);
    if (others.length === 0 || this.loop) return;
    const told = new Map<string, string>();
    this.loop = startLoop(
      async () => {
        for (const address of others) {
          if (this.stopped || cluster.id !== null) return;
          try {
            await this.join(requireHostPort(address));
            log.info('joined the cluster', { through: address, cluster_id: cluster.id });
            return;
          } catch (thrown) {
            const { message, hint } = SteepError.from(thrown);
            if (message !== told.get(address))
              log.warn('cannot join yet', { through: address, error: message, hint });
            told.set(address, message);
          }
        }
      },
      () => config().heartbeat.interval,
    );
  }

  /** Registers with a peer and takes over its cluster; the peer's own row. Throws what it answers, CONFLICT. */
  async join(address: HostPort): Promise<Member> {
    const { cluster, peers, config } = this.options;
    const wanted = formatHostPort(address);
    if (wanted === config().grpc.advertise)
      throw new SteepError('INVALID_REQUEST', `${wanted} is this node itself`);
    const client = peers.clientFor(address, undefined);
    this.clients.add(client);
    try {
      return await cluster.whileJoining(() => this.through(client));
    } finally {
      this.clients.delete(client);
      client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    for (const client of this.clients) client.close();
    await this.loop?.[Symbol.asyncDispose]();
  }

  private async through(client: PeerClient): Promise<Member> {
    const { cluster, peers, beforeAdopting, onLearned } = this.options;
    const answer = await register(client, cluster, cluster.alone ? '' : (cluster.id ?? ''), REGISTER_MS);
    const { clusterId, term, list, nodes } = answer;
    if (clusterId === '' || !list)
      throw new SteepError('FAILED', `${client.address} tells no cluster id: is it a steep-repl daemon?`);
    if (clusterId !== cluster.id) {
      cluster.requireAlone(clusterId);
      beforeAdopting();
    }
    cluster.adopt({ clusterId, term: Number(term), list: listFrom(list), members: membersOf(nodes) });
    onLearned();
    peers.follow();
    const { nodeId } = await client.call(
      ({ coordinator }, options) => coordinator.healthCheck({ service: '' }, options),
      HEALTH_MS,
    );
    const peer = cluster.registry.find(nodeId);
    if (!peer)
      throw new SteepError('FAILED', `${client.address} let this node in but is not among its nodes`);
    return peer;
  }
}
