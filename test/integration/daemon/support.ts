/** What the tests of the daemon's life share: its rows in the audit trail. */
import { setDefaultTimeout } from 'bun:test';
import type { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';

setDefaultTimeout(180_000);

export interface Audited {
  action: string;
  target_id: string;
  occurred_at: Date;
  success: boolean;
  error_message: string | null;
  new_value: Record<string, unknown> | null;
}

/** A database of its own on a server that several tests share. */
export async function newDatabase(server: TestPostgres): Promise<string> {
  const name = `db_${crypto.randomUUID().slice(0, 8)}`;
  await server.query(`create database ${name}`);
  await server.query('create extension steep_repl', name);
  return name;
}

/** What the daemon itself wrote, oldest first. */
export async function audited(
  server: TestPostgres,
  database = 'postgres',
  nodeId?: string,
): Promise<Audited[]> {
  const rows = (await server.query(
    `select action, target_id, occurred_at, success, error_message, new_value from steep_repl.audit_log
      where target_type = 'daemon' or action = 'audit.pruned' order by occurred_at, id`,
    database,
  )) as unknown as Audited[];
  return [...rows].filter((row) => nodeId === undefined || row.target_id === nodeId);
}

export async function actions(
  server: TestPostgres,
  database = 'postgres',
  nodeId?: string,
): Promise<string[]> {
  return (await audited(server, database, nodeId)).map(({ action }) => action);
}

export async function untilAudited(
  server: TestPostgres,
  action: string,
  database = 'postgres',
): Promise<void> {
  await waitFor(
    async () => (await actions(server, database)).includes(action),
    `${action} in the audit trail`,
  );
}
