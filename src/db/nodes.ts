/** Table `nodes`: the registry. */
import type { Database } from './database.ts';

export interface NodeFacts {
  node_id: string;
  node_name: string;
  host: string;
  port: number;
  priority: number;
  grpc_host: string | null;
  grpc_port: number | null;
}

/** Writes this daemon's own row, and that it is alive. Repeated with the same facts it is only a heartbeat. */
export async function registerOwnNode(database: Database, node: NodeFacts): Promise<void> {
  await database.query(
    (sql) => sql`
      SELECT steep_repl.daemon_register_node(${node.node_id}, ${node.node_name}, ${node.host}, ${node.port},
                                             ${node.priority}, ${node.grpc_host}, ${node.grpc_port})`,
  );
}
