/**
 * The line to one peer: introduces this node, beats, learns what the peer knows. It has a loop of its own, so that
 * a peer that hangs holds up nobody.
 */
import type { Cluster } from '../cluster/cluster.ts';
import type { Member } from '../cluster/member.ts';
import type { Config } from '../config/schema.ts';
import type { NodeInfo, RegisterNodeResponse } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { CpuMeter } from '../lib/cpu-meter.ts';
import { SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { PeerClient } from '../rpc/client.ts';
import { memberFromInfo, REMOVED } from '../rpc/convert.ts';
import { rowsIn } from '../rpc/errors.ts';
import { type Loop, startLoop } from './loop.ts';

export interface PeerLinkOptions {
  cluster: Cluster;
  config: () => Config;
  postgresql: () => { connected: boolean; version: string };
  /** Rows that the peer passed on. */
  onRows: (rows: Member[]) => void;
  /** A heartbeat failed. */
  onFailure: () => void;
  log: Logger;
}

export class PeerLink implements AsyncDisposable {
  readonly id: string;
  readonly client: PeerClient;
  private readonly options: PeerLinkOptions;
  private readonly loop: Loop;
  private readonly cpu = new CpuMeter();
  /** The copy and revision of this node that the peer has been told; undefined: none. */
  private introduced: string | undefined;
  private began = 0;

  constructor(id: string, client: PeerClient, options: PeerLinkOptions) {
    this.id = id;
    this.client = client;
    this.options = options;
    const { config } = options;
    this.loop = startLoop(
      async () => {
        this.began = performance.now();
        await this.beat();
      },
      // A call that failed late is followed by the next one at once: two lost ones must not look like a dead peer.
      () => Math.max(0, config().heartbeat.interval - (performance.now() - this.began)),
    );
  }

  /** Lets calls that are under way end, heartbeats or not; disposal does not. */
  async retire(): Promise<void> {
    await this.loop[Symbol.asyncDispose]();
    await this.client.retire();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.loop[Symbol.asyncDispose]();
  }

  /** One heartbeat, or our registration if the peer has not got our present facts. */
  private async beat(): Promise<void> {
    const { cluster, log, onFailure } = this.options;
    // Readmitted after a removal, a node is listed without its instance until it has registered again.
    const unregistered = cluster.listed(cluster.self.node_id)?.instance_id === '';
    const present = `${cluster.self.instance_id} ${cluster.self.revision} ${unregistered}`;
    try {
      if (this.introduced === present) await this.heartbeat();
      else await this.introduce();
      this.introduced = present;
      cluster.noteShutOut(false);
    } catch (thrown) {
      const error = SteepError.from(thrown);
      // A peer without its PostgreSQL takes no registration, yet it lives, and may know us from before.
      if (error.code === 'CANNOT_CONNECT' && this.introduced !== present && (await this.lives())) return;
      cluster.noteFailure(this.id, error.message);
      log.debug('heartbeat failed', { peer: this.id, error: error.message });
      const own = rowsIn(error).find(({ nodeId }) => nodeId === cluster.self.node_id);
      if (own?.status === REMOVED) cluster.noteShutOut(true);
      // A peer that lost its registry, or was started anew, is told again who we are.
      if (error.code === 'NODE_NOT_FOUND') this.introduced = undefined;
      onFailure();
    }
  }

  private async introduce(): Promise<void> {
    const { cluster, onRows, config } = this.options;
    const began = performance.now();
    const { nodes } = await register(this.client, cluster, cluster.id ?? '', deadlineOf(config()));
    cluster.noteAnswer(this.id, performance.now() - began);
    onRows(membersOf(nodes));
  }

  private async heartbeat(): Promise<void> {
    const { cluster, postgresql, onRows, config } = this.options;
    const { connected, version } = postgresql();
    const nodeStatus = {
      postgresqlConnected: connected,
      postgresqlVersion: version,
      memoryUsedBytes: BigInt(process.memoryUsage.rss()),
      cpuPercent: this.cpu.percent(),
    };
    const began = performance.now();
    const { updatedNodes } = await this.client.call(
      ({ coordinator }, options) =>
        coordinator.heartbeat({ nodeId: cluster.self.node_id, nodeStatus }, options),
      deadlineOf(config()),
    );
    cluster.noteAnswer(this.id, performance.now() - began);
    if (updatedNodes.length > 0) onRows(membersOf(updatedNodes));
  }

  private async lives(): Promise<boolean> {
    try {
      await this.heartbeat();
      return true;
    } catch {
      return false; // why is known from the call before
    }
  }
}

/** Asks a peer to know this node: as a member of `clusterId`, or to be let in where that is empty. */
export async function register(
  client: PeerClient,
  cluster: Cluster,
  clusterId: string,
  timeoutMs: number,
): Promise<RegisterNodeResponse> {
  const { self, instanceId, votes } = cluster;
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
    votes,
  };
  return await client.call(
    ({ coordinator }, options) => coordinator.registerNode(request, options),
    timeoutMs,
  );
}

export function membersOf(nodes: NodeInfo[]): Member[] {
  return nodes.map(memberFromInfo).filter((member) => member !== undefined);
}

function deadlineOf({ heartbeat }: Config): number {
  return heartbeat.unreachable_after / 2;
}
