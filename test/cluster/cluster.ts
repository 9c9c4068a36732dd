/** Several daemons, each on a machine of its own with a real PostgreSQL 18, and somebody who watches them all. */
import { mkdirSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { steepReplCommand } from '../support/cli.ts';
import { DaemonHome, type TestDaemon } from '../support/daemon.ts';
import { type Host, Network } from '../support/network.ts';
import { type PostgresOptions, TestPostgres } from '../support/postgres.ts';
import { waitFor } from '../support/wait.ts';

const PORT = 5433;
const FAR = 6433;

export interface View {
  node_id: string | null;
  term: number | null;
}

export class ClusterNode implements AsyncDisposable {
  readonly id: string;
  readonly host: Host;
  readonly server: TestPostgres | undefined;
  readonly home: DaemonHome;
  private readonly config: Record<string, unknown>;
  private current: TestDaemon | undefined;

  constructor(id: string, host: Host, server: TestPostgres | undefined, config: Record<string, unknown>) {
    this.id = id;
    this.config = config;
    this.host = host;
    this.server = server;
    this.home = new DaemonHome(server, {
      nodeId: id,
      config: {
        grpc: { enabled: true, bind: host.address, port: PORT, advertise: this.address },
        ...(server ? {} : { role: 'witness' }),
        ...config,
      },
    });
  }

  get address(): string {
    return `${this.host.address}:${PORT}`;
  }

  get daemon(): TestDaemon {
    if (!this.current) throw new Error(`${this.id} was not started`);
    return this.current;
  }

  start(): void {
    this.current = this.home.start({ prefix: this.host.namespace.prefix });
  }

  /** Lets others reach it only through somebody who takes his time. */
  async behindRelay(delay: number): Promise<Bun.Subprocess> {
    this.home.writeConfig(undefined, {
      ...this.config,
      grpc: { enabled: true, bind: this.host.address, port: PORT, advertise: `${this.host.address}:${FAR}` },
    });
    const relay = Bun.spawn(
      [
        ...this.host.namespace.prefix,
        'bun',
        path.join(import.meta.dir, '../support/relay.ts'),
        this.host.address,
        String(FAR),
        String(PORT),
        String(delay),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await relay.stdout.getReader().read(); // "ready"
    return relay;
  }

  /** Asks the daemon through IPC; undefined when it does not answer within a moment. */
  async ask<T>(method: string, params: object = {}, limit = 1000): Promise<T | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const socket = net.connect(this.home.socket);
    const late = setTimeout(() => resolve(undefined), limit);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(text);
    });
    socket.on('error', () => resolve(undefined));
    socket.on('close', () => resolve(undefined));
    socket.write(`${JSON.stringify({ id: '1', method, params })}\n`);
    try {
      const answer = await promise;
      return answer === undefined
        ? undefined
        : ((JSON.parse(answer) as { result: T | null }).result ?? undefined);
    } finally {
      clearTimeout(late);
      socket.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.host.mend();
    await this.home[Symbol.asyncDispose]();
    await this.server?.[Symbol.asyncDispose]();
  }
}

/** Who said at what time that it coordinates: nobody may, once somebody else has in a newer term. */
interface Claim {
  id: string;
  term: number;
  at: number;
}

export interface ClusterOptions {
  nodes: number;
  witness?: boolean;
  /** Below `repl:`, for each node. */
  config?: Record<string, unknown>;
  /** How late what is said to the last node, and what it answers, arrives: milliseconds each way. */
  delay?: number;
  /** Puts more machines into the network; what it returns goes into each node's configuration, too. */
  beside?: (network: Network) => Promise<Record<string, unknown>>;
  /** For each PostgreSQL, and what is run on it before the daemons start. */
  servers?: PostgresOptions & { sql?: string[] };
  /** Called with each node before its daemon starts for the first time, and when all have certificates. */
  prepare?: (node: ClusterNode) => void | Promise<void>;
}

export class TestCluster implements AsyncDisposable {
  readonly nodes: ClusterNode[];
  readonly wrong: string[] = [];
  private readonly network: Network;
  private newest: Claim | undefined;
  private watching = true;
  private readonly watch: Promise<unknown>;
  private readonly relay: Bun.Subprocess | undefined;

  private constructor(network: Network, nodes: ClusterNode[], relay: Bun.Subprocess | undefined) {
    this.network = network;
    this.nodes = nodes;
    this.relay = relay;
    this.watch = Promise.all(nodes.map((node) => this.watchClaims(node)));
  }

  static async start({
    nodes: count,
    witness = false,
    config = {},
    beside,
    delay = 0,
    servers: serverOptions,
    prepare,
  }: ClusterOptions): Promise<TestCluster> {
    const network = new Network();
    const servers: (TestPostgres | undefined)[] = await Promise.all(
      Array.from({ length: count }, () => newServer(serverOptions)),
    );
    if (witness) servers.push(undefined);
    const hosts = servers.map(() => network.host());
    const more = await beside?.(network);
    const join = { cluster: { join: [`${hosts[0]!.address}:${PORT}`] } };
    const nodes = servers.map((server, index) => {
      const id = server ? `node-${'abcdefg'[index]}` : 'witness';
      return new ClusterNode(id, hosts[index]!, server, {
        ...(index === 0 ? {} : join),
        ...config,
        ...more,
      });
    });
    await certify(nodes);
    const last = nodes.at(-1)!;
    const relay = delay > 0 ? await last.behindRelay(delay) : undefined;
    if (prepare) for (const node of nodes) await prepare(node);
    for (const node of nodes) node.start();
    const cluster = new TestCluster(network, nodes, relay);
    await cluster.settled();
    return cluster;
  }

  node(id: string): ClusterNode {
    const found = this.nodes.find((one) => one.id === id);
    if (!found) throw new Error(`no ${id}`);
    return found;
  }

  /** The coordinator that all of these nodes agree on; undefined while they do not. */
  async agreed(those: readonly ClusterNode[] = this.nodes): Promise<ClusterNode | undefined> {
    const views = await Promise.all(those.map((node) => node.ask<View>('coordinator.get')));
    const [first] = views;
    if (!first?.node_id) return undefined;
    return views.every((view) => view?.node_id === first.node_id && view.term === first.term)
      ? this.node(first.node_id)
      : undefined;
  }

  /** Waits until all see each other healthy and agree; who coordinates. */
  async settled(): Promise<ClusterNode> {
    let found: ClusterNode | undefined;
    await waitFor(
      async () => {
        found = await this.agreed();
        if (!found) return false;
        const lists = await Promise.all(this.nodes.map((node) => statuses(node)));
        const voters = await Promise.all(
          this.nodes.map((node) => node.ask<{ voters: string[] }>('coordinator.get')),
        );
        return (
          lists.every(
            (list) => list.size === this.nodes.length && [...list.values()].every((one) => one === 'healthy'),
          ) && voters.every((one) => one?.voters.length === this.nodes.length)
        );
      },
      'the cluster to settle',
      60_000,
    ).catch((error: Error) => {
      throw new Error(
        `${error.message}\n${this.nodes.map((node) => `${node.id}:\n${node.daemon.stderr}`).join('\n')}`,
      );
    });
    return found!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.watching = false;
    await this.watch;
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    this.relay?.kill();
    await this.relay?.exited;
    await this.network[Symbol.asyncDispose]();
  }

  private async watchClaims(node: ClusterNode): Promise<void> {
    while (this.watching) {
      const asked = performance.now();
      const view = await node.ask<View>('coordinator.get');
      if (view?.node_id === node.id && view.term !== null) this.claimed(node.id, view.term, asked);
      await Bun.sleep(50);
    }
  }

  /** `asked`: it still held after that moment. */
  private claimed(id: string, term: number, asked: number): void {
    const { newest } = this;
    if (newest && newest.id !== id && term <= newest.term && asked > newest.at)
      this.wrong.push(
        `${id} said in term ${term} that it coordinates, after ${newest.id} had in ${newest.term}`,
      );
    if (!newest || term > newest.term) this.newest = { id, term, at: performance.now() };
  }
}

async function newServer({ sql = [], ...options }: ClusterOptions['servers'] = {}): Promise<TestPostgres> {
  const server = TestPostgres.create(options);
  server.useExtension();
  await server.start();
  for (const statement of ['CREATE EXTENSION steep_repl', ...sql]) await server.query(statement);
  return server;
}

/** A CA on the first node, and a certificate for each other one. */
async function certify([first, ...others]: ClusterNode[]): Promise<void> {
  if (!first) return;
  await run(first, 'tls', 'init', '--host', first.host.address, '--config', first.home.configFile);
  for (const node of others) {
    const out = path.join(node.home.folder, 'certs');
    mkdirSync(out, { recursive: true, mode: 0o700 });
    const args = ['tls', 'issue', node.id, '--host', node.host.address, '--out', out];
    await run(first, ...args, '--config', first.home.configFile);
  }
}

export async function run(node: ClusterNode, ...args: string[]): Promise<void> {
  const child = Bun.spawn([...steepReplCommand, ...args], {
    env: node.home.env(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`${args.join(' ')}: ${said}`);
}

/** Each node's status as one of them sees it. */
export async function statuses(node: ClusterNode): Promise<Map<string, string>> {
  const answer = await node.ask<{ nodes: { node_id: string; status: string }[] }>('nodes.list');
  return new Map(answer?.nodes.map(({ node_id, status }) => [node_id, status]) ?? []);
}
