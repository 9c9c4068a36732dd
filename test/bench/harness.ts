/** What the benchmarks share: medians with spread, the executable under test, and a daemon on a real PostgreSQL. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestPostgres } from '../support/postgres.ts';

export interface Row {
  what: string;
  /** The number of contract section 15, as it stands there. */
  reach: string;
  /** What was measured, for people. */
  measured: string;
  reached: boolean;
  /** Raw samples, in the unit that `measured` names. */
  samples: number[];
}

export type Benchmark = () => Promise<Row[]>;

const root = path.join(import.meta.dir, '../..');
export const executable = path.join(root, 'dist/steep-repl');

export function median(samples: number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

export function percentile(samples: number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((p / 100) * sorted.length) - 1)] ?? NaN;
}

/** `12.3 ms (11.0–15.2)`: median and spread. */
export function spread(samples: number[], unit: string, digits = 1): string {
  const [low, high] = [Math.min(...samples), Math.max(...samples)];
  return `${median(samples).toFixed(digits)} ${unit} (${low.toFixed(digits)}–${high.toFixed(digits)}, n=${samples.length})`;
}

/** Builds the executable if there is none. */
export function requireExecutable(): void {
  if (existsSync(executable)) return;
  const built = Bun.spawnSync(['bun', path.join(root, 'build.ts')], { stdout: 'inherit', stderr: 'inherit' });
  if (built.exitCode !== 0) throw new Error('the build failed');
}

/** A temporary folder that goes with the process. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sb-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Certificates for this machine, by the executable: `init`, or `issue` with its arguments. */
export function certificates(config: string, ...args: string[]): void {
  const made = Bun.spawnSync([executable, 'tls', ...args, '--config', config, '--host', '127.0.0.1']);
  if (made.exitCode !== 0) throw new Error(made.stderr.toString());
}

/** A configuration file for a daemon on this server; its path. */
export function configFor(
  server: TestPostgres,
  folder: string,
  nodeId = 'bench',
  more = '',
  grpc = '{ enabled: false }',
): string {
  const own = path.join(folder, nodeId);
  mkdirSync(path.join(own, 'certs'), { recursive: true, mode: 0o700 });
  const file = path.join(own, 'config.yaml');
  const yaml = `repl:\n  node_id: ${nodeId}\n  postgresql: { host: ${server.base}, user: postgres }\n  grpc: ${grpc}\n  state_dir: ${own}/state\n  ipc: { path: ${own}/ipc.sock }\n${more === '' ? '' : `  ${more}\n`}`;
  writeFileSync(file, yaml, { mode: 0o600 });
  return file;
}

export interface Helper extends AsyncDisposable {
  readonly pid: number;
}

/** A bare server of references.ts, ready. */
export async function reference(...args: string[]): Promise<Helper> {
  return await helper('references.ts', ...args);
}

/** A program of this folder that has said `ready`. */
export async function helper(program: string, ...args: string[]): Promise<Helper> {
  const child = Bun.spawn(['bun', path.join(import.meta.dir, program), ...args], { stdout: 'pipe' });
  const { done } = await child.stdout.getReader().read();
  if (done) throw new Error(`${program} ended before it was ready`);
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

export interface LogLine {
  time: string;
  msg: string;
}

/** A running daemon whose log lines can be waited for. */
export class BenchDaemon implements AsyncDisposable {
  readonly startedAt = Date.now();
  private readonly child;
  private readonly lines: LogLine[] = [];
  private wake: () => void = () => {};

  constructor(config: string, command = [executable]) {
    this.child = Bun.spawn([...command, 'run', '--config', config], {
      stdout: 'ignore',
      stderr: 'pipe',
      stdin: 'ignore',
    });
    void this.collect(this.child.stderr);
  }

  get pid(): number {
    return this.child.pid;
  }

  private async collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) this.lines.push(JSON.parse(line) as LogLine);
      this.wake();
    }
  }

  /** The time (ms since 1970) of the first line with this message at or after `since`. */
  async logged(message: string, since = 0): Promise<number> {
    for (let waited = 0; waited < 30_000; waited += 50) {
      const line = this.lines.find((one) => one.msg === message && Date.parse(one.time) >= since);
      if (line) return Date.parse(line.time);
      await Promise.race([Bun.sleep(50), new Promise<void>((resolve) => (this.wake = resolve))]);
    }
    throw new Error(`the daemon did not log '${message}' within 30 s`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGTERM');
    await this.child.exited;
  }
}

/** A request over IPC. */
export const STATUS = '{"id":"1","method":"status.get","params":{}}\n';

/** One request after the other on one connection; milliseconds of each. */
export async function askInTurn(socketPath: string, line: string, count: number): Promise<number[]> {
  const socket = net.connect(socketPath);
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const answered = new Promise<void>((resolve) => {
      const onData = (chunk: Buffer): void => {
        if (!chunk.includes(10)) return;
        socket.off('data', onData);
        resolve();
      };
      socket.on('data', onData);
    });
    socket.write(line);
    await answered;
    samples.push(performance.now() - began);
  }
  socket.destroy();
  return samples;
}

/** Of a process: user and system time, from clock ticks of a hundredth of a second. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
