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
  await registerNodes(database, [{ ...node, status }], actingFor);
}

/** Writes rows in one statement. Throws what Database.query throws. */
export async function registerNodes(
  database: Database,
  nodes: readonly (NodeFacts & { status: NodeStatus })[],
  actingFor: string | null,
): Promise<void> {
  await database.query(
    (sql) => sql`
      SELECT steep_repl.daemon_register_node(n.node_id, n.node_name, n.host, n.port, n.priority, n.grpc_host,
                                             n.grpc_port, n.status, ${actingFor}::text)
        FROM jsonb_to_recordset(${JSON.stringify(nodes)}::text::jsonb)
          AS n (node_id text, node_name text, host text, port integer, priority integer, grpc_host text,
                grpc_port integer, status text)`,
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
