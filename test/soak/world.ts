/** What the soak knows: the nodes with every life of their daemons, and what was found wrong. */
import type { ClusterNode, TestCluster } from '../cluster/cluster.ts';
import type { TestDaemon } from '../support/daemon.ts';
import type { TestPostgres } from '../support/postgres.ts';

/** What must hold; each is one line of the report. */
export const INVARIANTS = {
  one: 'never two coordinators',
  terms: 'terms only grow',
  coordinator: 'a coordinator is there after each fault',
  well: 'all is well after each fault',
  live: '/live answers while the daemon runs',
  offline: "an operator's offline stands",
  nothing: 'broken files change nothing, good ones are taken',
  ends: 'daemons end when they are told to, and only then',
  answers: 'no client is told of an internal error',
  changes: 'each change has exactly its audit row',
  kept: 'each change that was confirmed is there, none that was rolled back',
  events: 'each event of a daemon is in the trail once',
  subscribers: 'each subscriber was shown each entry once',
  memory: 'memory is flat',
  handles: 'open handles are as many as at first',
  volume: 'logs are short',
  lines: 'nothing unexpected is logged',
  secrets: 'no secret is shown',
} as const;
export type Invariant = keyof typeof INVARIANTS;

/** One process of a daemon. Times are milliseconds since 1970. */
export interface Life {
  daemon: TestDaemon;
  from: number;
  /** Just before it was told to end. */
  to?: number;
  ended?: 'killed' | 'stopped';
  /** While it could not run: SIGSTOP. */
  stood: { from: number; to?: number }[];
}

export class SoakNode {
  readonly node: ClusterNode;
  readonly server: TestPostgres;
  readonly lives: Life[];

  constructor(node: ClusterNode) {
    if (!node.server) throw new Error(`${node.id} has no PostgreSQL`);
    this.node = node;
    this.server = node.server;
    this.lives = [{ daemon: node.daemon, from: 0, stood: [] }]; // it was started before it came here
  }

  get id(): string {
    return this.node.id;
  }

  get life(): Life {
    return this.lives.at(-1)!;
  }

  start(): void {
    const from = Date.now();
    this.node.start();
    this.lives.push({ daemon: this.node.daemon, from, stood: [] });
  }

  async kill(): Promise<void> {
    Object.assign(this.life, { to: Date.now(), ended: 'killed' });
    await this.life.daemon.kill();
  }

  /** The exit code. */
  async stop(): Promise<number | undefined> {
    Object.assign(this.life, { to: Date.now(), ended: 'stopped' });
    return await this.life.daemon.stop();
  }

  hang(): void {
    this.life.stood.push({ from: Date.now() });
    this.life.daemon.signal('SIGSTOP');
  }

  goOn(): void {
    this.life.daemon.signal('SIGCONT');
    const last = this.life.stood.at(-1);
    if (last) last.to = Date.now();
  }
}

export class World {
  readonly cluster: TestCluster;
  readonly nodes: SoakNode[];
  readonly began = Date.now();
  readonly wrong = new Map<Invariant, string[]>();
  /** Texts that nothing may show. */
  readonly secrets: string[] = [];
  /** Where the daemons' password command finds it. */
  readonly passwordFile: string;
  /** Whom an operator set offline, and it was confirmed. */
  offline: string | undefined;

  constructor(cluster: TestCluster, passwordFile: string) {
    this.cluster = cluster;
    this.passwordFile = passwordFile;
    this.nodes = cluster.nodes.map((node) => new SoakNode(node));
  }

  /** The one that is not killed any more after the beginning: its memory is watched. */
  get oldest(): SoakNode {
    return this.nodes.at(-1)!;
  }

  find(id: string): SoakNode {
    const found = this.nodes.find((one) => one.id === id);
    if (!found) throw new Error(`no ${id}`);
    return found;
  }

  found(invariant: Invariant, text: string): void {
    const list = this.wrong.get(invariant) ?? [];
    this.wrong.set(invariant, list);
    if (list.length < 50) list.push(`${this.clock()} ${text}`);
  }

  /** `+63.2s` */
  clock(at = Date.now()): string {
    return `+${(Math.max(0, at - this.began) / 1000).toFixed(1)}s`;
  }
}
