/**
 * Whether the state_dir is what it was when this node last wrote to its PostgreSQL. One that is new or older (a
 * restored disk) does not know how this node voted: then the node is another copy of itself, which votes only after
 * `nodes readmit`. Until PostgreSQL could be asked, it does not vote either.
 */
import { randomUUID } from 'node:crypto';
import type { Cluster } from '../cluster/cluster.ts';
import { belonging } from '../cluster/list.ts';
import { rpcAddress } from '../cluster/member.ts';
import type { Durable } from '../cluster/state.ts';
import { type DaemonState, getDaemonState } from '../db/coordinator-state.ts';
import type { Database } from '../db/database.ts';
import { formatHostPort } from '../lib/host-port.ts';
import type { Logger } from '../lib/log.ts';

export interface OwnStateOptions {
  cluster: Cluster;
  state: Durable;
  /** Once: the state can be believed, or was made another copy's. `lost`: where the cluster's other nodes were. */
  onChecked: (lost: { addresses: string[] } | undefined) => void;
  log: Logger;
}

export class OwnState {
  private readonly options: OwnStateOptions;
  /** Where the other nodes were, if an earlier state of this node was found to be lost. */
  lost: readonly string[] | undefined;
  private checked = false;

  constructor(options: OwnStateOptions) {
    this.options = options;
  }

  get serial(): number {
    return this.options.state.current.serial;
  }

  get term(): number {
    return this.options.state.current.term;
  }

  /** For a witness: it has nobody to ask. */
  believe(): void {
    this.options.state.believe();
    this.checked = true;
    this.options.onChecked(undefined);
  }

  /** Compares once a run. Throws what Database.query throws, and what the disk throws. */
  async check(database: Database): Promise<void> {
    if (this.checked) return;
    const remembered = await getDaemonState(database);
    const { cluster, state, onChecked, log } = this.options;
    // Of another node: the database was copied from there. Alone: nobody else can have counted a vote.
    const ours = remembered?.node_id === cluster.self.node_id && remembered.others.length > 0;
    if (!ours || !this.isOlderThan(remembered)) {
      state.believe();
      onChecked(undefined);
      this.checked = true;
      return;
    }
    if (!this.lost)
      log.warn('state_dir is new or older than PostgreSQL remembers: this node does not vote', {
        hint: `on another node:  steep-repl nodes readmit ${cluster.self.node_id}`,
      });
    this.lost = remembered.others;
    // What the disk refuses is tried again: until then nothing is trusted, and nothing forgotten.
    if (cluster.id !== null) cluster.disown(randomUUID());
    state.believe();
    onChecked({ addresses: remembered.others });
    this.checked = true;
  }

  private isOlderThan({ instance_id, serial }: DaemonState): boolean {
    const { current } = this.options.state;
    return instance_id !== current.instance_id || serial > current.serial;
  }
}

/** What PostgreSQL is to remember of this node. */
export function stateToRemember(cluster: Cluster, serial: number): DaemonState {
  const others = belonging(cluster.list)
    .filter(({ node_id, role }) => node_id !== cluster.self.node_id && role !== '')
    .map(({ node_id }) => cluster.registry.find(node_id))
    .map((member) => member && rpcAddress(member))
    .filter((address) => address !== undefined)
    .map(formatHostPort);
  return {
    node_id: cluster.self.node_id,
    instance_id: cluster.instanceId,
    cluster_id: cluster.id,
    serial,
    others,
  };
}
