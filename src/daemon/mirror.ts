/**
 * Keeps the tables the way the cluster is: `nodes`, the coordinator, and what is remembered of this node's own state.
 * state_dir is the authority; the tables are for people to read and to query. While PostgreSQL is away nothing is
 * written; when it is back, everything that differs is.
 */
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/schema.ts';
import { setCoordinator, setDaemonState } from '../db/coordinator-state.ts';
import type { Database } from '../db/database.ts';
import { listNodes, registerNodes, removeNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { CoordinatorView } from '../operations/subject.ts';
import { type Loop, startLoop } from './loop.ts';
import { type OwnState, stateToRemember } from './own-state.ts';

export interface MirrorOptions {
  cluster: Cluster;
  config: () => Config;
  database: Database;
  ownState: OwnState;
  coordinator: () => CoordinatorView;
  log: Logger;
}

export function startMirror(options: MirrorOptions): Loop {
  const { cluster, config, database, ownState, coordinator, log } = options;
  let complaint: string | undefined;
  let remembered = '';
  let shown = '';
  const write = async (): Promise<void> => {
    if (database.state.kind !== 'connected') return;
    try {
      // First of all: what is written below replaces what PostgreSQL remembers.
      await ownState.check(database);
      const peers = cluster.peers().map(({ member, status }) => ({ ...member, status }));
      await registerNodes(database, [{ ...cluster.self, status: 'healthy' }, ...peers], null);
      await removeStrangers();
      await writeCoordinator();
      await remember();
      complaint = undefined;
    } catch (thrown) {
      const error = SteepError.from(thrown);
      // A loss of PostgreSQL is told by the database itself.
      if (error.code !== 'NOT_CONNECTED' && error.message !== complaint)
        log.error('cannot write steep_repl.nodes', { error: error.message });
      complaint = error.message;
    }
  };
  /** Rows of nodes that belong no more. What an operator wrote into the table himself stays, as does the own row. */
  const removeStrangers = async (): Promise<void> => {
    for (const { node_id: id } of await listNodes(database))
      if (cluster.belongedOnce(id) && id !== cluster.self.node_id) await removeNode(database, id, null);
  };
  const writeCoordinator = async (): Promise<void> => {
    const { node_id, term } = coordinator();
    // A node of which nothing but the id is known yet has no row to be marked.
    const known = node_id !== null && cluster.registry.find(node_id) !== undefined;
    const now = `${known ? node_id : ''} ${term ?? ''}`;
    if (now === shown || (!known && shown === '')) return;
    await setCoordinator(database, known ? node_id : null, known ? (term ?? 0) : ownState.term);
    shown = now;
  };
  const remember = async (): Promise<void> => {
    // What PostgreSQL remembers is all that is left of a lost state, until the node is back in its cluster.
    if (ownState.lost && cluster.id === null) return;
    const state = stateToRemember(cluster, ownState.serial);
    const text = JSON.stringify(state);
    if (text === remembered) return;
    await setDaemonState(database, state);
    remembered = text;
  };
  return startLoop(write, () => config().heartbeat.interval);
}
