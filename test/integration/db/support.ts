/** What the tests of the connection share: targets, a record of states, servers that misbehave. */
import { setDefaultTimeout } from 'bun:test';
import net from 'node:net';
import { Database, type DatabaseState } from '../../../src/db/database.ts';
import type { AwayReason } from '../../../src/db/errors.ts';
import type { Target } from '../../../src/db/target.ts';
import type { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';

/** A slow machine is no failure; a hang is one. */
setDefaultTimeout(180_000);

/** How to reach a test server, by its Unix socket unless told otherwise. */
export function targetFor(
  server: Pick<TestPostgres, 'base' | 'port'>,
  changes: Partial<Target> = {},
): Target {
  return {
    host: server.base,
    port: server.port,
    database: 'postgres',
    user: 'postgres',
    password: undefined,
    passwordCommand: undefined,
    sslmode: 'prefer',
    sslrootcert: undefined,
    sslcert: undefined,
    sslkey: undefined,
    connectTimeout: 2000,
    statementTimeout: 5000,
    applicationName: 'steep-repl/test',
    ...changes,
  };
}

/** A Database that remembers each change of its state, and when; closed when disposed. */
export class Watched implements AsyncDisposable {
  readonly database: Database;
  readonly states: { state: DatabaseState; at: number }[] = [];

  constructor(target: Target, poolMax = 4) {
    this.database = new Database({ target, poolMax });
    this.database.subscribe((state) => this.states.push({ state, at: performance.now() }));
    this.database.start();
  }

  /** The kinds of state it went through, reasons of absence among them. */
  get history(): string[] {
    return this.states.map(({ state }) => (state.kind === 'away' ? state.reason : state.kind));
  }

  get now(): string {
    const { state } = this.database;
    return state.kind === 'away' ? state.reason : state.kind;
  }

  get message(): string {
    const { state } = this.database;
    return state.kind === 'away' ? state.message : '';
  }

  async until(what: 'connected' | AwayReason, limit?: number): Promise<number> {
    const began = performance.now();
    await waitFor(() => this.now === what, what, limit).catch((error: Error) => {
      throw new Error(`${error.message}; it is ${this.now}: ${this.message}`);
    });
    return performance.now() - began;
  }

  /** Until PostgreSQL is away for whatever reason. */
  async untilAway(): Promise<number> {
    const began = performance.now();
    await waitFor(() => this.now !== 'connected' && this.now !== 'connecting', 'the loss of PostgreSQL');
    return performance.now() - began;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.database.close();
  }
}

/** Milliseconds for people. */
export function ms(...durations: number[]): string {
  const sorted = durations.toSorted((a, b) => a - b);
  const shown = (value: number | undefined): string => `${Math.round(value ?? 0)} ms`;
  if (sorted.length === 1) return shown(sorted[0]);
  return `median ${shown(sorted[Math.floor(sorted.length / 2)])}, most ${shown(sorted.at(-1))}, n=${sorted.length}`;
}

/** A TCP server of our own on the loopback; its connections end with it. */
export class FakeServer implements AsyncDisposable {
  readonly connections = new Set<net.Socket>();
  accepted = 0;
  private readonly server: net.Server;

  private constructor(onConnection: (socket: net.Socket, count: number) => void) {
    this.server = net.createServer((socket) => {
      this.accepted += 1;
      this.connections.add(socket);
      socket.on('close', () => this.connections.delete(socket));
      socket.on('error', () => {});
      onConnection(socket, this.accepted);
      socket.resume(); // or it would not notice the end
    });
  }

  static async listen(
    onConnection: (socket: net.Socket, count: number) => void,
    port = 0,
  ): Promise<FakeServer> {
    const fake = new FakeServer(onConnection);
    await new Promise<void>((resolve) => fake.server.listen(port, '127.0.0.1', resolve));
    return fake;
  }

  get port(): number {
    return (this.server.address() as net.AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.connections) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
