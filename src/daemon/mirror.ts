/**
 * Keeps the tables the way the cluster is: `nodes`, the coordinator, and what is remembered of this node's own state.
 * state_dir is the authority; the tables are for people to read and to query. While PostgreSQL is away nothing is
 * written; when it is back, everything that differs is.
 */
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/schema.ts';
import { setCoordinator, setDaemonState } from '../db/coordinator-state.ts';
import type { Database } from '../db/database.ts';
import { listNodes, type NodeRow, registerNodes, removeNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import type { CoordinatorView } from '../operations/subject.ts';
import type { Complaint } from './complaint.ts';
import { type Loop, startLoop } from './loop.ts';
import { type OwnState, stateToRemember } from './own-state.ts';

/** Longer than it takes to hear of a coordinator, where there is one. */
const UNKNOWING_MS = 30_000;

export interface MirrorOptions {
  cluster: Cluster;
  config: () => Config;
  database: Database;
  ownState: OwnState;
  coordinator: () => CoordinatorView;
  complaint: Complaint;
}

export function startMirror(options: MirrorOptions): Loop {
  const { cluster, config, database, ownState, coordinator, complaint } = options;
  /** What PostgreSQL was told last; undefined: who knows what it remembers. */
  let remembered: string | undefined;
  let shown: { node_id: string | null; term: number | null } | undefined;
  const forget = (): void => {
    remembered = undefined;
    shown = undefined;
  };
  database.subscribe((state) => {
    if (state.kind === 'connected') forget(); // it may be another one by now: a backup that was restored
  });
  const began = performance.now();
  const write = async (): Promise<void> => {
    if (database.state.kind !== 'connected') return;
    let refused: SteepError | undefined;
    try {
      // First of all: what is written below replaces what PostgreSQL remembers.
      await ownState.check(database);
      const peers = cluster.peers().map(({ member, status }) => ({ ...member, status }));
      refused = await register([{ ...cluster.self, status: 'healthy' }, ...peers]);
      const rows = await listNodes(database);
      await removeStrangers(rows);
      // Somebody has written it himself, or made the extension anew, and what it remembered is gone as well.
      if (shown && shown.node_id !== (rows.find((row) => row.is_coordinator)?.node_id ?? null)) forget();
      await writeCoordinator().catch((error: unknown) => {
        if (refused === undefined) throw error; // otherwise it may be the coordinator whose row is missing
      });
      await remember();
      if (refused === undefined) complaint.settled();
      else complaint.about(refused);
    } catch (thrown) {
      complaint.about(refused ?? thrown);
    }
  };
  /**
   * One row that PostgreSQL refuses must not keep the others out: a name, say, with a letter that its encoding lacks.
   * The refusal of such a row is returned.
   */
  const register = async (nodes: Parameters<typeof registerNodes>[1]): Promise<SteepError | undefined> => {
    try {
      await registerNodes(database, nodes, null);
      return undefined;
    } catch (thrown) {
      const error = SteepError.from(thrown);
      if (error.code !== 'INVALID_REQUEST' && error.code !== 'CONFLICT') throw error;
      if (nodes.length === 1)
        return new SteepError(error.code, `${nodes[0]?.node_id}: ${error.message}`, { cause: error });
      const refusals: (SteepError | undefined)[] = [];
      for (const node of nodes) refusals.push(await register([node]));
      return refusals.find((each) => each !== undefined);
    }
  };
  /** Rows of nodes that belong no more. What an operator wrote into the table himself stays, as does the own row. */
  const removeStrangers = async (rows: NodeRow[]): Promise<void> => {
    for (const { node_id: id } of rows)
      if (cluster.belongedOnce(id) && id !== cluster.self.node_id) await removeNode(database, id, null);
  };
  const writeCoordinator = async (): Promise<void> => {
    const { node_id, term } = coordinator();
    // A node of which nothing but the id is known yet has no row to be marked.
    const known = node_id !== null && cluster.registry.find(node_id) !== undefined;
    const now = known ? { node_id, term } : { node_id: null, term: null };
    if (shown && now.node_id === shown.node_id && now.term === shown.term) return;
    // Just started, a node knows nobody yet, and the table's coordinator may well be the one.
    if (!known && !shown && performance.now() - began < UNKNOWING_MS) return;
    await setCoordinator(database, now.node_id, known ? (term ?? 0) : ownState.term);
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
