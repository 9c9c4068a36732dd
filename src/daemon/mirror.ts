/**
 * Keeps the table `nodes` the way the registry is. state_dir is the authority; the table is for people to read and
 * to query. While PostgreSQL is away nothing is written; when it is back, everything that differs is.
 */
import type { Cluster } from '../cluster/cluster.ts';
import { belongs } from '../cluster/member.ts';
import type { Config } from '../config/schema.ts';
import type { Database } from '../db/database.ts';
import { listNodes, registerNode, removeNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { type Loop, startLoop } from './loop.ts';

export interface MirrorOptions {
  cluster: Cluster;
  config: () => Config;
  database: Database;
  log: Logger;
}

export function startMirror({ cluster, config, database, log }: MirrorOptions): Loop {
  let complaint: string | undefined;
  const write = async (): Promise<void> => {
    if (database.state.kind !== 'connected') return;
    try {
      await registerNode(database, cluster.self, 'healthy', null);
      for (const { member, status } of cluster.peers())
        // Asked again each time: one that was removed meanwhile must not come back for a moment.
        if (belongs(cluster.registry.find(member.node_id) ?? member))
          await registerNode(database, member, status, null);
      await removeStrangers();
      complaint = undefined;
    } catch (thrown) {
      const error = SteepError.from(thrown);
      // A loss of PostgreSQL is told by the database itself.
      if (error.code !== 'NOT_CONNECTED' && error.message !== complaint)
        log.error('cannot write steep_repl.nodes', { error: error.message });
      complaint = error.message;
    }
  };
  /** Rows of nodes that were removed. What an operator wrote into the table himself stays, as does the own row. */
  const removeStrangers = async (): Promise<void> => {
    for (const { node_id: id } of await listNodes(database)) {
      const member = cluster.registry.find(id);
      if (member && !belongs(member) && id !== cluster.self.node_id) await removeNode(database, id, null);
    }
  };
  return startLoop(write, () => config().heartbeat.interval);
}
