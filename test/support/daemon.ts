/** The real daemon as a child process, alone in a temporary folder, with its log as data. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { steepReplCommand } from './cli.ts';
import type { TestPostgres } from './postgres.ts';
import { PASSWORD, refuseSecrets, textsBelow } from './secrets.ts';
import { waitFor, within } from './wait.ts';

export interface LogLine {
  time: string;
  level: string;
  component: string;
  msg: string;
  [field: string]: unknown;
}

type Section = Record<string, unknown>;

/** Less than the three minutes of a test, which would end without a word of what it waited for. */
const EXIT_MS = 90_000;

/** Its own limit is ten seconds; a busy machine takes its time with everything. */
const END_MS = 60_000;

export interface DaemonHomeOptions {
  nodeId?: string;
  /** Below `repl:`; a section replaces the default's keys one by one. */
  config?: Section;
}

/** What survives a daemon: its folder, configuration and state. Start it as often as you like. */
export class DaemonHome implements AsyncDisposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'sd-'));
  readonly configFile = path.join(this.folder, 'config.yaml');
  readonly stateDir = path.join(this.folder, 'state');
  readonly socket = path.join(this.folder, 'ipc.sock');
  readonly nodeId: string;
  private readonly daemons: TestDaemon[] = [];

  constructor(server: Pick<TestPostgres, 'base' | 'port'> | undefined, options: DaemonHomeOptions = {}) {
    this.nodeId = options.nodeId ?? `node-${crypto.randomUUID().slice(0, 8)}`;
    mkdirSync(path.join(this.folder, 'home'), { mode: 0o700 });
    mkdirSync(path.join(this.folder, 'run'), { mode: 0o700 });
    const postgresql = server ? { host: server.base, port: server.port, user: 'postgres' } : undefined;
    this.writeConfig(postgresql ? { postgresql } : {}, options.config);
  }

  /** Writes the configuration anew: what the tests need, and on top of it what this one needs. */
  writeConfig(base: Section = this.lastBase, changes: Section = {}): void {
    this.lastBase = base;
    const repl: Section = {
      node_id: this.nodeId,
      state_dir: this.stateDir,
      grpc: { enabled: false },
      ipc: { path: this.socket },
      log: { format: 'json', level: 'info' },
      ...base,
    };
    for (const [key, value] of Object.entries(changes)) {
      const before = repl[key];
      repl[key] = isSection(before) && isSection(value) ? { ...before, ...value } : value;
    }
    this.writeRaw(JSON.stringify({ repl }, null, 2)); // JSON is YAML
  }
  private lastBase: Section = {};

  writeRaw(text: string): void {
    writeFileSync(this.configFile, text, { mode: 0o600 });
  }

  /** The environment of a daemon: nothing of ours but the path, and what marks the run of the tests. */
  env(changes: Record<string, string> = {}): Record<string, string> {
    const { PATH = '', STEEP_TEST_RUN } = process.env;
    const home = path.join(this.folder, 'home');
    return {
      PATH,
      HOME: home,
      TMPDIR: this.folder,
      XDG_CONFIG_HOME: path.join(home, 'config'),
      XDG_STATE_HOME: path.join(home, 'state'),
      XDG_RUNTIME_DIR: path.join(this.folder, 'run'),
      PGPASSWORD: PASSWORD,
      ...(STEEP_TEST_RUN === undefined ? {} : { STEEP_TEST_RUN }),
      ...changes,
    };
  }

  start(options: { env?: Record<string, string>; prefix?: string[]; args?: string[] } = {}): TestDaemon {
    const command = [...(options.prefix ?? []), ...steepReplCommand, 'run', '--config', this.configFile];
    const daemon = new TestDaemon([...command, ...(options.args ?? [])], this.env(options.env), this.folder);
    this.daemons.push(daemon);
    return daemon;
  }

  /** Starts it and waits until it is connected. */
  async connected(options: Parameters<DaemonHome['start']>[0] = {}): Promise<TestDaemon> {
    const daemon = this.start(options);
    await daemon.waitForLog((line) => line.msg === 'connected to PostgreSQL', 'the connection');
    return daemon;
  }

  /** Where this user's daemons write their PID; root's serve the machine. */
  get pidFile(): string {
    const folder = process.getuid?.() === 0 ? '/run/steep-repl' : path.join(this.folder, 'run/steep-repl');
    return path.join(folder, `${this.nodeId}.pid`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = await Promise.all(this.daemons.map((daemon) => daemon.end()));
    rmSync(this.pidFile, { force: true }); // of those that were killed
    const left = textsBelow(this.stateDir);
    rmSync(this.folder, { recursive: true, force: true });
    if (ended.includes(false)) throw new Error('a daemon did not end by SIGTERM within a minute');
    refuseSecrets(left);
    for (const { stdout, stderr } of this.daemons) refuseSecrets({ 'its output': stdout, 'its log': stderr });
  }
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export class TestDaemon {
  readonly lines: LogLine[] = [];
  /** What it wrote that is no line of its log. */
  readonly other: string[] = [];
  stdout = '';
  stderr = '';
  private readonly child;
  private readonly outputs: Promise<unknown>;

  constructor(command: string[], env: Record<string, string>, cwd: string) {
    this.child = Bun.spawn(command, { env, cwd, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
    this.outputs = Promise.all([this.readLog(), this.readStdout()]);
  }

  get pid(): number {
    return this.child.pid;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The exit code, once everything it wrote has been read; undefined when a signal ended it. */
  async exited(): Promise<number | undefined> {
    await within(this.child.exited, EXIT_MS, `the daemon ${this.pid} did not end`);
    await within(this.outputs, EXIT_MS, `somebody else still holds the output of the daemon ${this.pid}`);
    return this.child.exitCode ?? undefined;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Stops it politely; the exit code. */
  async stop(name: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<number | undefined> {
    this.signal(name);
    return await this.exited();
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited();
  }

  async waitForLog(predicate: (line: LogLine) => boolean, what: string, limit?: number): Promise<LogLine> {
    await waitFor(() => this.lines.some(predicate) || !this.running, what, limit).catch((error: Error) => {
      throw new Error(`${error.message}; the log:\n${this.stderr}`);
    });
    const found = this.lines.find(predicate);
    if (!found) throw new Error(`the daemon ended before ${what}; the log:\n${this.stderr}`);
    return found;
  }

  async logged(msg: string, limit?: number): Promise<LogLine> {
    return await this.waitForLog((line) => line.msg === msg, `'${msg}'`, limit);
  }

  count(msg: string): number {
    return this.lines.filter((line) => line.msg === msg).length;
  }

  /** Ends it at the end of a test; whether it could be done politely. */
  async end(): Promise<boolean> {
    let polite = true;
    if (this.running) {
      this.signal('SIGCONT');
      this.signal('SIGTERM');
      const limit = setTimeout(() => {
        polite = false;
        this.signal('SIGKILL');
      }, END_MS);
      await this.child.exited;
      clearTimeout(limit);
    }
    if (existsSync(`/proc/${this.pid}/exe`)) throw new Error(`the daemon ${this.pid} did not end`);
    return polite;
  }

  private async readLog(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of this.child.stderr) {
      const text = decoder.decode(chunk, { stream: true });
      this.stderr += text;
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.take(line);
    }
    if (rest !== '') this.take(rest);
  }

  private take(line: string): void {
    try {
      this.lines.push(JSON.parse(line) as LogLine);
    } catch {
      this.other.push(line);
    }
  }

  private async readStdout(): Promise<void> {
    this.stdout = await new Response(this.child.stdout).text();
  }
}

/** What a process shows to everybody who may look: its arguments and its environment. */
export function shownBy(pid: number): { cmdline: string; environ: string } {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8').replaceAll('\0', '\n');
  return { cmdline: read('cmdline'), environ: read('environ') };
}
