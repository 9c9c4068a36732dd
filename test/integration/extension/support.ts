/** What the tests of the extension share: one server for each file, a database of its own for each test. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import postgres from 'postgres';
import { type Settings, type TestClient, TestPostgres } from '../../support/postgres.ts';

export const extensionDir = path.join(import.meta.dir, '../../../extension');
export const installScript = readFileSync(path.join(extensionDir, 'steep_repl--0.1.0.sql'), 'utf8');

/** The script as init-extension --no-files runs it: without what works only inside CREATE EXTENSION. */
export function schemaOnly(script = installScript): string {
  return script.replace(/^-- extension-only begin$[\s\S]*?^-- extension-only end$/gm, '');
}

export interface AuditRow {
  id: string;
  occurred_at: Date;
  action: string;
  actor: string;
  target_type: string | null;
  target_id: string | null;
  old_value: Record<string, unknown> | null;
  new_value: Record<string, unknown> | null;
  client_ip: string | null;
  success: boolean;
  error_message: string | null;
}

/** A database for one test, and its superuser's connection. */
export class Database implements AsyncDisposable {
  readonly sql: TestClient;
  private readonly clients: TestClient[] = [];

  readonly server: TestPostgres;
  readonly name: string;
  private readonly giveBack: (name: string) => void;

  constructor(server: TestPostgres, name: string, giveBack: (name: string) => void) {
    this.server = server;
    this.name = name;
    this.giveBack = giveBack;
    this.sql = this.as('postgres');
  }

  /** Another connection, closed with the database. */
  as(user: string, options: postgres.Options<Record<string, never>> = {}): TestClient {
    const client = this.server.client({ database: this.name, user, ...options });
    this.clients.push(client);
    return client;
  }

  async audit(sql: postgres.Sql = this.sql): Promise<AuditRow[]> {
    return [...(await sql<AuditRow[]>`select * from steep_repl.audit_log order by id`)];
  }

  /** The audit rows that `change` writes. */
  async audited(change: () => PromiseLike<unknown>): Promise<AuditRow[]> {
    const before = new Set((await this.audit()).map((row) => row.id));
    await change();
    return (await this.audit()).filter((row) => !before.has(row.id));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.end({ timeout: 1 })));
    await this.server.query(
      `drop extension if exists steep_repl cascade; drop schema if exists steep_repl cascade;
       drop schema if exists public cascade; create schema public; grant all on schema public to public`,
      this.name,
    );
    this.giveBack(this.name);
  }
}

/** A server and its databases, each of which is emptied and used again: that takes a tenth of making one. */
export class ExtensionServer implements AsyncDisposable {
  private count = 0;
  private readonly unused: string[] = [];

  readonly server: TestPostgres;

  private constructor(server: TestPostgres) {
    this.server = server;
  }

  static async start(settings: Settings = {}): Promise<ExtensionServer> {
    const server = TestPostgres.create({ settings });
    server.useExtension();
    await server.start();
    return new ExtensionServer(server);
  }

  /** A database with the extension. */
  async database(): Promise<Database> {
    const db = await this.emptyDatabase();
    await db.sql`create extension steep_repl`;
    return db;
  }

  async emptyDatabase(): Promise<Database> {
    let name = this.unused.pop();
    if (name === undefined) {
      name = `test_${++this.count}`;
      await this.server.query(`create database ${name}`);
    }
    return new Database(this.server, name, (unused) => this.unused.push(unused));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

/** The server's refusal of `query`; an error if it was not refused. */
export async function refusal(query: PromiseLike<unknown>): Promise<postgres.PostgresError> {
  try {
    await query;
  } catch (error) {
    if (error instanceof postgres.PostgresError) return error;
    throw error;
  }
  throw new Error('expected a refusal, but the server did it');
}

/** Says once why a test does not run, and gives test.skipIf its answer. */
export function skipReason(missing: boolean, reason: string): boolean {
  if (missing) console.warn(`skipped: ${reason}`);
  return missing;
}
