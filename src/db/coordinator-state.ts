/** Table `coordinator_state`: what people can read of the coordinator, and what this node's own state was. */
import { z } from 'zod';
import type { Database } from './database.ts';

/** Remembered so that a lost or restored state_dir is known for one. */
export interface DaemonState {
  node_id: string;
  instance_id: string;
  cluster_id: string | null;
  /** Writes of state_dir so far. */
  serial: number;
  /** Addresses of the other nodes. */
  others: string[];
}

const daemonState = z.object({
  node_id: z.string(),
  instance_id: z.string(),
  cluster_id: z.string().nullable(),
  serial: z.number(),
  others: z.array(z.string()),
});

/** Makes the node the coordinator, or nobody. Throws what Database.query throws. */
export async function setCoordinator(database: Database, nodeId: string | null, term: number): Promise<void> {
  await database.query((sql) => sql`SELECT steep_repl.set_coordinator(${nodeId}::text, ${term}::bigint)`);
}

/** Throws what Database.query throws. */
export async function setDaemonState(database: Database, state: DaemonState): Promise<void> {
  await database.query(
    (sql) => sql`SELECT steep_repl.set_daemon_state(${JSON.stringify(state)}::text::jsonb)`,
  );
}

/** Undefined where nothing, or nothing that can be understood, was remembered. Throws what Database.query throws. */
export async function getDaemonState(database: Database): Promise<DaemonState | undefined> {
  const [row] = await database.query(
    (sql) => sql<{ value: unknown }[]>`
      SELECT value FROM steep_repl.coordinator_state WHERE key = 'cluster.daemon'`,
  );
  return daemonState.safeParse(row?.value).data;
}
