/** What `doctor` wants to know of a server: settings that replication will need, the clock, publications. */
import type { Session } from './session.ts';

export interface ServerSettings {
  /** Server's clock minus ours in milliseconds, measured in the middle of a round trip. */
  clockOffset: number;
  /** Publications FOR ALL TABLES of this database. */
  publicationsOfAll: string[];
  superuser: boolean;
  settings: Record<string, string>;
}

const WANTED = [
  'wal_level',
  'max_replication_slots',
  'max_wal_senders',
  'max_active_replication_origins',
  'track_commit_timestamp',
  'fsync',
  'full_page_writes',
];

/** Throws what Session.query throws. */
export async function readSettings(session: Session): Promise<ServerSettings> {
  const began = Date.now();
  const [clock] = await session.query(
    (sql) => sql<{ now: number }[]>`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`,
  );
  const middle = (began + Date.now()) / 2;
  const settings = await session.query(
    (sql) => sql<{ name: string; setting: string }[]>`
      SELECT name, setting FROM pg_catalog.pg_settings
       WHERE name IN (SELECT jsonb_array_elements_text(${JSON.stringify(WANTED)}::text::jsonb))`,
  );
  const publications = await session.query(
    (sql) =>
      sql<
        { name: string }[]
      >`SELECT pubname AS name FROM pg_catalog.pg_publication WHERE puballtables ORDER BY 1`,
  );
  const [role] = await session.query(
    (sql) =>
      sql<
        { superuser: boolean }[]
      >`SELECT rolsuper AS superuser FROM pg_catalog.pg_roles WHERE rolname = current_user`,
  );
  return {
    clockOffset: (clock?.now ?? middle) - middle,
    publicationsOfAll: publications.map(({ name }) => name),
    superuser: role?.superuser ?? false,
    settings: Object.fromEntries(settings.map(({ name, setting }) => [name, setting])),
  };
}
