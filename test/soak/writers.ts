/** Clients that write: on each node's own PostgreSQL, what must be audited. */
import { randomUUID } from 'node:crypto';
import type postgres from 'postgres';
import { Random } from '../simulation/random.ts';
import type { SoakNode, World } from './world.ts';

/** A statement that takes longer is given up; whether it was done is then not known. */
const LIMIT_MS = 5000;

/** What a writer knows of its changes, by the mark that each carries. */
export class Writer {
  readonly confirmed = new Set<string>();
  readonly rolledBack = new Set<string>();
  unknown = 0;
  readonly node: SoakNode;
  private readonly random: Random;
  private ended = false;
  private readonly running: Promise<void>;

  constructor(node: SoakNode, random: Random) {
    this.node = node;
    this.random = random;
    this.running = this.write();
  }

  async stop(): Promise<void> {
    this.ended = true;
    await this.running;
  }

  private async write(): Promise<void> {
    const { server } = this.node;
    while (!this.ended) {
      // One after the other until it breaks: a broken connection is not used again.
      const sql = server.client({ connect_timeout: 5, idle_timeout: 0 });
      try {
        while (!this.ended) {
          await this.change(sql);
          await Bun.sleep(this.random.between(50, 350));
        }
      } catch {
        await Bun.sleep(300);
      } finally {
        await sql.end({ timeout: 0 });
      }
    }
  }

  private async change(sql: postgres.Sql): Promise<void> {
    const mark = randomUUID();
    const statement = this.random.of(STATEMENTS)(mark, this.random.below(5));
    const undone = this.random.chance(0.1);
    if (undone) this.rolledBack.add(mark);
    else this.unknown += 1;
    await limited(
      sql.unsafe(
        undone ? `DO $do$ BEGIN EXECUTE $q$${statement}$q$; RAISE EXCEPTION 'undone'; END $do$` : statement,
      ),
    ).catch((error: Error) => {
      if (!undone || !error.message.includes('undone')) throw error;
    });
    if (undone) return;
    this.unknown -= 1;
    this.confirmed.add(mark);
  }
}

/** Each leaves exactly one row in the trail, whose new value holds the mark. */
const STATEMENTS: ((mark: string, which: number) => string)[] = [
  (
    mark,
    which,
  ) => `INSERT INTO steep_repl.coordinator_state (key, value) VALUES ('soak.state-${which}', '"${mark}"')
     ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
  (mark, which) => `SELECT steep_repl.register_node('soak-${which}', '${mark}', 'soak.example.com')`,
  (mark) => `INSERT INTO steep_repl.coordinator_state (key, value) VALUES ('soak.${mark}', '"${mark}"')`,
  (mark, which) => `INSERT INTO steep_repl.nodes (node_id, node_name, host, grpc_host)
     VALUES ('soak-${which}', 'soak', 'soak.example.com', '${mark}')
     ON CONFLICT (node_id) DO UPDATE SET grpc_host = excluded.grpc_host`,
];

async function limited<T>(query: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = setTimeout(() => reject(new Error('no answer')), LIMIT_MS);
  try {
    return await Promise.race([query, promise]);
  } finally {
    clearTimeout(late);
    query.catch(() => {}); // nobody waits for it any more
  }
}

export function startWriters({ nodes }: World, seed: number): Writer[] {
  return nodes.map((node, index) => new Writer(node, new Random(seed + index)));
}
