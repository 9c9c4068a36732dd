/** A PostgreSQL with the extension and a daemon beside it, as the tests of the doors need them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Sandbox, steepReplCommand } from '../../support/cli.ts';
import { ask } from '../../support/ipc-raw.ts';
import type { TestPostgres } from '../../support/postgres.ts';
import { PASSWORD, refuseSecrets, textsBelow } from '../../support/secrets.ts';
import { waitFor } from '../../support/wait.ts';

export interface DaemonOptions {
  server?: TestPostgres | undefined;
  /** Further keys of the section `repl`. */
  config?: Record<string, unknown>;
  env?: Record<string, string>;
  sandbox?: Sandbox;
}

/** A daemon in a process and a sandbox of its own. */
export class DoorDaemon implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly socket: string;
  readonly process: Bun.Subprocess<'ignore', 'ignore', 'pipe'>;
  log = '';

  /** Starts it and waits for nothing. */
  constructor({ server, config = {}, env = {}, sandbox = new Sandbox() }: DaemonOptions) {
    this.sandbox = sandbox;
    const ipc = { path: path.join(sandbox.folder, 'ipc.sock'), ...(config['ipc'] as object | undefined) };
    this.socket = ipc.path;
    sandbox.writeConfig({
      node_id: 'node-a',
      grpc: { enabled: false },
      postgresql: {
        host: server?.base ?? sandbox.folder,
        port: server?.port ?? 5432,
        user: 'postgres',
        ...(config['postgresql'] as object | undefined),
      },
      ...config,
      ipc,
    });
    this.process = Bun.spawn([...steepReplCommand, 'run', '--config', sandbox.config], {
      env: { ...sandbox.env, PGPASSWORD: PASSWORD, STEEP_REPL_LOG_FORMAT: 'json', ...env },
      cwd: sandbox.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    void this.keepLog();
  }

  /** Starts it, and waits until it says that it is ready and, with a server, that it has PostgreSQL. */
  static async start(options: DaemonOptions): Promise<DoorDaemon> {
    const daemon = new DoorDaemon(options);
    try {
      await waitFor(() => {
        if (daemon.process.exitCode !== null) throw new Error(`the daemon exited: ${daemon.log}`);
        return daemon.log.includes('"msg":"ready"');
      }, 'the daemon to be ready');
      if (options.server?.running) await daemon.untilConnected();
      return daemon;
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.process.pid;
  }

  async untilConnected(connected = true): Promise<void> {
    await waitFor(
      async () => (await ask(this.socket, 'status.get')).result.postgresql.connected === connected,
      `PostgreSQL to be ${connected ? 'connected' : 'away'}`,
    );
  }

  /** Waits until it coordinates the cluster that it founded. */
  async untilCoordinator(): Promise<void> {
    await waitFor(
      async () => (await ask(this.socket, 'status.get')).result.node.is_coordinator === true,
      'the founder to coordinate',
    );
  }

  /** Waits until it coordinates and has written all that it has to say of that: the audit trail is quiet then. */
  async untilSettled(server: TestPostgres): Promise<void> {
    await this.untilCoordinator();
    await waitFor(async () => {
      const { term } = (await ask(this.socket, 'coordinator.get')).result;
      const file = readFileSync(path.join(this.sandbox.folder, 'state/cluster.json'), 'utf8');
      const { serial } = JSON.parse(file) as { serial: number };
      const rows = await server.query(
        `SELECT FROM steep_repl.coordinator_state
          WHERE key = 'cluster.coordinator' AND (value ->> 'term')::int = ${term}
             OR key = 'cluster.daemon' AND (value ->> 'serial')::int = ${serial}`,
      );
      return rows.length === 2;
    }, 'the tables to follow the election');
  }

  /** Resident memory in MiB. */
  get memory(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  }

  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Sends SIGTERM and waits; the exit code. */
  async stop(): Promise<number> {
    this.process.kill('SIGTERM');
    return await this.process.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null) {
      this.process.kill('SIGTERM');
      const late = setTimeout(() => this.process.kill('SIGKILL'), 15_000);
      await this.process.exited;
      clearTimeout(late);
    }
    const left = textsBelow(path.join(this.sandbox.folder, 'state'));
    this.sandbox[Symbol.dispose]();
    refuseSecrets({ 'its log': this.log, ...left });
  }

  private async keepLog(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.process.stderr) this.log += decoder.decode(chunk, { stream: true });
  }
}

/** Whether this machine has a program; a test that needs it says why it is skipped. */
export function has(program: string): boolean {
  const found = (process.env['PATH'] ?? '')
    .split(':')
    .some((folder) => existsSync(path.join(folder, program)));
  if (!found) console.log(`skipped: ${program} is not installed`);
  return found;
}

/** The same value with the name of its type in place of each scalar, and of a list's first element for all. */
export function shapeOf(value: unknown): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shapeOf(inner)]));
  return typeof value;
}
