/** The lines to all peers: there is one for each member of the cluster that can be dialled. */
import type { Cluster } from '../cluster/cluster.ts';
import { type Member, rpcAddress } from '../cluster/member.ts';
import type { Config } from '../config/schema.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import { formatHostPort, type HostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';
import { PeerClient } from '../rpc/client.ts';
import type { TlsMaterial } from '../tls/material.ts';
import { rulesOf } from './own-facts.ts';
import { PeerLink } from './peer-link.ts';
import { wasTold } from './state-disk.ts';

export interface PeersOptions {
  cluster: Cluster;
  config: () => Config;
  /** Undefined while there are no certificates; `insecure`: none are wanted. */
  material: () => TlsMaterial | 'insecure' | undefined;
  postgresql: () => { connected: boolean; version: string };
  /** The registry may have changed. */
  onLearned: () => void;
  onFailure: () => void;
  log: Logger;
}

export class Peers implements AsyncDisposable {
  private readonly options: PeersOptions;
  /** With the address and the certificates that each was made for. */
  private readonly links = new Map<string, { link: PeerLink; key: string }>();
  private readonly retiring = new Set<PeerLink>();
  private stopped = false;
  private material: TlsMaterial | 'insecure' | undefined;
  private generation = 0;

  constructor(options: PeersOptions) {
    this.options = options;
  }

  /** The line to a peer; undefined while it cannot be dialled. */
  clientOf(id: string): PeerClient | undefined {
    return this.links.get(id)?.link.client;
  }

  /** A line for one call to any node of which the address is known. The caller closes it. */
  dial(id: string): PeerClient | undefined {
    const member = this.options.cluster.registry.find(id);
    const address = member && rpcAddress(member);
    return address === undefined || this.material === undefined || this.stopped
      ? undefined
      : this.clientFor(address, id);
  }

  /** Peers came, went or moved; or certificates changed: lines follow. */
  follow(): void {
    const material = this.options.material();
    if (material !== this.material) this.generation += 1;
    this.material = material;
    const wanted = new Map(this.options.cluster.peers().map(({ member }) => [member.node_id, member]));
    for (const [id, { link, key }] of this.links) {
      const member = wanted.get(id);
      if (member && this.keyOf(member) === key) continue;
      this.links.delete(id);
      this.retiring.add(link);
      void link.retire().finally(() => this.retiring.delete(link));
    }
    for (const member of wanted.values()) if (!this.links.has(member.node_id)) this.open(member);
  }

  /** A line to an address, which may be that of a known peer. Throws NOT_CONNECTED without certificates. */
  clientFor(address: HostPort, nodeId: string | undefined): PeerClient {
    const material = this.options.material();
    if (material === undefined)
      throw new SteepError('NOT_CONNECTED', 'there are no certificates for calls to other nodes', {
        hint: 'steep-repl tls init',
      });
    return new PeerClient({
      address,
      material: material === 'insecure' ? undefined : material,
      rules: rulesOf(this.options.config()),
      nodeId,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    const links = [...[...this.links.values()].map(({ link }) => link), ...this.retiring];
    await Promise.all(links.map((link) => link[Symbol.asyncDispose]()));
  }

  private open(member: Member): void {
    const address = rpcAddress(member);
    if (!address || this.material === undefined || this.stopped) return;
    const { cluster, config, postgresql, onFailure, log } = this.options;
    const link = new PeerLink(member.node_id, this.clientFor(address, member.node_id), {
      cluster,
      config,
      postgresql,
      onRows: (rows) => this.learn(rows),
      onFailure,
      log,
    });
    this.links.set(member.node_id, { link, key: this.keyOf(member) });
  }

  private learn(rows: Member[]): void {
    const { cluster, onLearned, log } = this.options;
    const before = cluster.registry.version;
    try {
      cluster.learn(rows);
    } catch (error) {
      if (!wasTold(error)) log.error('cannot take what another node told', { error: messageOf(error) });
    }
    if (cluster.registry.version === before) return;
    onLearned();
    this.follow();
  }

  private keyOf(member: Member): string {
    const address = rpcAddress(member);
    return `${address === undefined ? '' : formatHostPort(address)} ${this.generation}`;
  }
}
