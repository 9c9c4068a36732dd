/** The rows of `nodes` as last read, for answers that must not wait for PostgreSQL. */
import type { Database } from '../db/database.ts';
import { listNodes, type NodeRow } from '../db/nodes.ts';

export class RegistryView {
  private readonly database: Database;
  private rows: NodeRow[] | undefined;
  private reading = false;
  private again = false;

  constructor(database: Database) {
    this.database = database;
  }

  /** Undefined before the first reading. */
  get nodes(): NodeRow[] | undefined {
    return this.rows;
  }

  /** Reads the rows again, once for many calls. */
  async refresh(): Promise<void> {
    this.again = true;
    if (this.reading) return;
    this.reading = true;
    try {
      while (this.again) {
        this.again = false;
        this.rows = await listNodes(this.database);
      }
    } catch {
      // PostgreSQL is away, which is told elsewhere: the rows stay as they were last read.
    } finally {
      this.reading = false;
    }
  }
}
