/** Table `nodes`: the registry. */
import type { Database } from './database.ts';

export type NodeStatus = 'unknown' | 'healthy' | 'degraded' | 'unreachable' | 'offline';

/** A row as it is shown: times are RFC 3339. */
export interface NodeRow {
  node_id: string;
  node_name: string;
  host: string;
  port: number;
  priority: number;
  is_coordinator: boolean;
  last_seen: string | null;
  status: NodeStatus;
  grpc_host: string | null;
  grpc_port: number | null;
}

export type NodeFacts = Pick<
  NodeRow,
  'node_id' | 'node_name' | 'host' | 'port' | 'priority' | 'grpc_host' | 'grpc_port'
>;

/** Writes a row: `last_seen` moves only if the status says that the node answered. The same again is a heartbeat. */
export async function registerNode(
  database: Database,
  node: NodeFacts,
  status: NodeStatus,
  actingFor: string | null,
): Promise<void> {
  await database.query(
    (sql) => sql`
      SELECT steep_repl.daemon_register_node(${node.node_id}, ${node.node_name}, ${node.host}, ${node.port},
                                             ${node.priority}, ${node.grpc_host}, ${node.grpc_port}, ${status}, ${actingFor})`,
  );
}

/** False: there was no such row. */
export async function removeNode(
  database: Database,
  nodeId: string,
  actingFor: string | null,
): Promise<boolean> {
  const [row] = await database.query(
    (sql) => sql<{ removed: boolean }[]>`SELECT steep_repl.remove_node(${nodeId}, ${actingFor}) AS removed`,
  );
  return row?.removed ?? false;
}

/** Every node, by id. Throws what Database.query throws. */
export async function listNodes(database: Database): Promise<NodeRow[]> {
  const rows = await database.query(
    (sql) => sql<(Omit<NodeRow, 'last_seen'> & { last_seen: Date | null })[]>`
      SELECT node_id, node_name, host, port, priority, is_coordinator, last_seen, status, grpc_host, grpc_port
        FROM steep_repl.nodes ORDER BY node_id`,
  );
  return rows.map((row) => ({ ...row, last_seen: row.last_seen?.toISOString() ?? null }));
}
