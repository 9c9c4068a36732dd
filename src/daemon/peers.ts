/**
 * Talks to the other nodes: introduces this one, beats, learns what they know, and notices how they are. Each
 * peer has a loop of its own, so that one that hangs holds up nobody.
 */
import type { Cluster } from '../cluster/cluster.ts';
import type { PeerStatus } from '../cluster/detector.ts';
import { type Member, rpcAddress } from '../cluster/member.ts';
import type { Config } from '../config/schema.ts';
import type { NodeInfo } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import { formatHostPort, type HostPort, requireHostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';
import { PeerClient } from '../rpc/client.ts';
import { memberFromInfo } from '../rpc/convert.ts';
import { rowsIn } from '../rpc/errors.ts';
import type { TlsMaterial } from '../tls/material.ts';
import { startLoop } from './loop.ts';
import { rulesOf } from './own-facts.ts';

export interface PeersOptions {
  cluster: Cluster;
  config: () => Config;
  /** Undefined while there are no certificates; `insecure`: none are wanted. */
  material: () => TlsMaterial | 'insecure' | undefined;
  postgresql: () => { connected: boolean; version: string };
  /** The registry may have changed. */
  onLearned: () => void;
  log: Logger;
}

interface PeerLoop extends AsyncDisposable {
  address: string;
  /** Lets a call that is under way end; disposal does not. */
  retire(): Promise<void>;
}

export class Peers implements AsyncDisposable {
  private readonly options: PeersOptions;
  private readonly loops = new Map<string, PeerLoop>();
  private readonly retiring = new Set<PeerLoop>();
  /** Under way to those whom this node joins. */
  private readonly joining = new Set<PeerClient>();
  private stopped = false;
  private readonly background = new AsyncDisposableStack();
  private readonly told = new Map<string, PeerStatus>();
  private material: TlsMaterial | 'insecure' | undefined;
  private generation = 0;

  constructor(options: PeersOptions) {
    this.options = options;
  }

  /** Begins with the peers of the registry, and to join those of `cluster.join` until one accepts. */
  start(): void {
    this.follow();
    const { cluster, config } = this.options;
    const own = config().grpc.advertise;
    const addresses = config().cluster.join.filter((address) => address !== own);
    if (cluster.id === null && addresses.length > 0) this.background.use(this.keepJoining(addresses));
    this.background.use(
      startLoop(
        () => this.tellChanges(),
        () => config().heartbeat.interval / 4,
      ),
    );
  }

  /** Logs each change of a peer's status once. */
  private async tellChanges(): Promise<void> {
    const { cluster, log, onLearned } = this.options;
    const peers = cluster.peers();
    const ids = new Set(peers.map(({ member }) => member.node_id));
    for (const id of this.told.keys()) if (!ids.has(id)) this.told.delete(id);
    for (const { member, status, silence } of peers) {
      const before = this.told.get(member.node_id);
      if (status === before) continue;
      this.told.set(member.node_id, status);
      if (before === undefined && status === 'unknown') continue;
      const fields = {
        peer: member.node_id,
        address: addressOf(member),
        before: before ?? 'unknown',
        silent_ms: Math.round(silence),
      };
      if (status === 'healthy') log.info('peer healthy', fields);
      else log.warn(`peer ${status}`, fields);
      onLearned();
    }
  }

  /** Peers came, went or moved; or certificates changed: loops follow. */
  follow(): void {
    const material = this.options.material();
    if (material !== this.material) this.generation += 1;
    this.material = material;
    const wanted = new Map(this.options.cluster.peers().map(({ member }) => [member.node_id, member]));
    for (const [id, loop] of this.loops) {
      const member = wanted.get(id);
      if (member && this.keyOf(member) === loop.address) continue;
      this.loops.delete(id);
      this.retiring.add(loop);
      void loop.retire().finally(() => this.retiring.delete(loop));
    }
    for (const member of wanted.values()) if (!this.loops.has(member.node_id)) this.watch(member);
  }

  /** Registers with a peer and takes over its cluster; the peer's own row. Throws what it answers, CONFLICT. */
  async join(address: HostPort): Promise<Member> {
    const { cluster } = this.options;
    const wanted = formatHostPort(address);
    if (wanted === this.options.config().grpc.advertise)
      throw new SteepError('INVALID_REQUEST', `${wanted} is this node itself`);
    const client = this.clientFor(address, undefined);
    this.joining.add(client);
    try {
      const clusterId = cluster.alone ? '' : (cluster.id ?? '');
      const { nodes, clusterId: joined } = await this.register(client, clusterId);
      if (joined === '')
        throw new SteepError('FAILED', `${client.address} tells no cluster id: is it a steep-repl daemon?`);
      cluster.adopt(joined, membersOf(nodes));
      this.options.onLearned();
      this.follow();
      const { nodeId } = await client.call(
        (one, options) => one.healthCheck({ service: '' }, options),
        this.deadline,
      );
      const peer = cluster.registry.find(nodeId);
      if (!peer)
        throw new SteepError(
          'FAILED',
          `${client.address} accepted the registration but is not among its nodes`,
        );
      return peer;
    } finally {
      this.joining.delete(client);
      client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    for (const client of this.joining) client.close();
    await Promise.all([
      this.background.disposeAsync(),
      ...[...this.loops.values(), ...this.retiring].map((loop) => loop[Symbol.asyncDispose]()),
    ]);
  }

  private keepJoining(addresses: string[]): AsyncDisposable {
    const { cluster, log, config } = this.options;
    let told = '';
    return startLoop(
      async () => {
        for (const address of addresses) {
          if (this.stopped || cluster.id !== null || this.options.material() === undefined) return;
          try {
            await this.join(requireHostPort(address));
            log.info('joined the cluster', { through: address, cluster_id: cluster.id });
            return;
          } catch (thrown) {
            const { message, hint } = SteepError.from(thrown);
            if (message !== told) log.warn('cannot join yet', { through: address, error: message, hint });
            told = message;
          }
        }
      },
      () => config().heartbeat.interval,
    );
  }

  private watch(member: Member): void {
    const address = rpcAddress(member);
    const { config } = this.options;
    if (!address || this.material === undefined || this.stopped) return;
    const client = this.clientFor(address, member.node_id);
    let introduced = -1;
    let began = 0;
    const loop = startLoop(
      async () => {
        began = performance.now();
        introduced = await this.beat(client, member.node_id, introduced);
      },
      // A call that failed late is followed by the next one at once: two lost ones must not look like a dead peer.
      () => Math.max(0, config().heartbeat.interval - (performance.now() - began)),
    );
    this.loops.set(member.node_id, {
      address: this.keyOf(member),
      async retire() {
        await loop[Symbol.asyncDispose]();
        client.close();
      },
      async [Symbol.asyncDispose]() {
        client.close();
        await loop[Symbol.asyncDispose]();
      },
    });
  }

  /** One heartbeat, or our registration if the peer has not got our present facts; the revision that it has. */
  private async beat(client: PeerClient, id: string, introduced: number): Promise<number> {
    const { cluster, log } = this.options;
    const { revision } = cluster.self;
    try {
      if (introduced === revision) await this.heartbeat(client, id);
      else await this.introduce(client, id);
      return revision;
    } catch (thrown) {
      const error = SteepError.from(thrown);
      // A peer without its PostgreSQL takes no registration, yet it lives, and may know us from before.
      if (error.code === 'CANNOT_CONNECT' && introduced !== revision && (await this.lives(client, id)))
        return introduced;
      cluster.noteFailure(id, error.message);
      log.debug('heartbeat failed', { peer: id, error: error.message });
      this.learnOwn(rowsIn(error));
      // A peer that lost its registry, or was started anew, is told again who we are.
      return error.code === 'NODE_NOT_FOUND' ? -1 : introduced;
    }
  }

  private async introduce(client: PeerClient, id: string): Promise<void> {
    const { cluster } = this.options;
    const began = performance.now();
    const { nodes } = await this.register(client, cluster.id ?? '');
    cluster.noteAnswer(id, performance.now() - began);
    this.learn(nodes);
  }

  private async heartbeat(client: PeerClient, id: string): Promise<void> {
    const { cluster, postgresql } = this.options;
    const { connected, version } = postgresql();
    const nodeStatus = {
      postgresqlConnected: connected,
      postgresqlVersion: version,
      memoryUsedBytes: BigInt(process.memoryUsage.rss()),
    };
    const began = performance.now();
    const { updatedNodes } = await client.call(
      (peer, options) => peer.heartbeat({ nodeId: cluster.self.node_id, nodeStatus }, options),
      this.deadline,
    );
    cluster.noteAnswer(id, performance.now() - began);
    this.learn(updatedNodes);
  }

  private async lives(client: PeerClient, id: string): Promise<boolean> {
    try {
      await this.heartbeat(client, id);
      return true;
    } catch {
      return false; // why is known from the call before
    }
  }

  private async register(client: PeerClient, clusterId: string) {
    const { self, instanceId } = this.options.cluster;
    const request = {
      nodeId: self.node_id,
      nodeName: self.node_name,
      host: self.host,
      port: self.port,
      priority: self.priority,
      grpcHost: self.grpc_host ?? '',
      grpcPort: self.grpc_port ?? 0,
      role: self.role,
      clusterId,
      instanceId,
      revision: BigInt(self.revision),
    };
    return await client.call((peer, options) => peer.registerNode(request, options), this.deadline);
  }

  private learn(nodes: NodeInfo[]): void {
    const { cluster, onLearned } = this.options;
    const before = cluster.registry.version;
    cluster.learn(membersOf(nodes));
    if (cluster.registry.version === before) return;
    onLearned();
    this.follow();
  }

  /** Whoever refuses this node because it was removed tells its row. */
  private learnOwn(nodes: NodeInfo[]): void {
    const { cluster, log } = this.options;
    try {
      this.learn(nodes.filter((node) => node.nodeId === cluster.self.node_id));
    } catch (error) {
      log.error('cannot store that this node was removed', { error: messageOf(error) });
    }
  }

  private get deadline(): number {
    return this.options.config().heartbeat.unreachable_after / 2;
  }

  private clientFor(address: HostPort, nodeId: string | undefined): PeerClient {
    const { config } = this.options;
    const material = this.options.material();
    if (material === undefined)
      throw new SteepError('NOT_CONNECTED', 'there are no certificates for calls to other nodes', {
        hint: 'steep-repl tls init',
      });
    return new PeerClient({
      address,
      material: material === 'insecure' ? undefined : material,
      rules: rulesOf(config()),
      nodeId,
    });
  }

  private keyOf(member: Member): string {
    return `${addressOf(member)} ${this.generation}`;
  }
}

function membersOf(nodes: NodeInfo[]): Member[] {
  return nodes.map(memberFromInfo).filter((member) => member !== undefined);
}

function addressOf(member: Member): string {
  const address = rpcAddress(member);
  return address === undefined ? '' : formatHostPort(address);
}
