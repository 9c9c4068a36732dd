/**
 * `npm run demo`: two nodes, each a real PostgreSQL 18 and a daemon, and a witness, that know each other by mutual
 * TLS and have elected a coordinator, until Ctrl-C.
 *   -- --once       shows them working, ends everything and exits 0
 *   -- --failover   kills the coordinator, shows what happens when, ends everything and exits 0
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { IpcClient } from '../../src/ipc/client.ts';
import { thisPlatform } from '../../src/platform/index.ts';
import { freePort } from './ports.ts';
import { TestPostgres } from './postgres.ts';
import { PASSWORD } from './secrets.ts';
import { waitFor } from './wait.ts';

const once = process.argv.includes('--once');
const failover = process.argv.includes('--failover');
const main = path.join(import.meta.dir, '../../src/main.ts');
const folder = mkdtempSync(path.join(tmpdir(), 'sd-'));
process.env['TMPDIR'] = folder; // the servers' files go into it too
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const interrupted = new Promise<void>((resolve) => {
  let count = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      count += 1;
      if (count > 1) process.exit(1);
      resolve();
    });
  }
});

function say(text: string): void {
  console.log(`\n== ${text}`);
}

/** Runs a command of steep-repl as a user of that node would, and shows it. */
async function steepRepl(node: DemoNode, ...args: string[]): Promise<void> {
  console.log(`${node.id}$ steep-repl ${args.join(' ')}`);
  const child = Bun.spawn(['bun', main, ...args], {
    env: { ...process.env, STEEP_REPL_CONFIG: node.config },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const status = await child.exited;
  if (status !== 0) throw new Error(`steep-repl ${args[0]} ended with exit code ${status}`);
}

/** A PostgreSQL (a witness has none), a configuration, and the daemon on them. */
class DemoNode implements AsyncDisposable {
  readonly id: string;
  readonly address: string;
  readonly own: string;
  readonly config: string;
  readonly server: TestPostgres | undefined;
  private daemon: Bun.Subprocess | undefined;

  private constructor(id: string, port: number, own: string, server: TestPostgres | undefined) {
    this.id = id;
    this.address = `127.0.0.1:${port}`;
    this.own = own;
    this.config = path.join(own, 'config.yaml');
    this.server = server;
  }

  static async create(id: string, join?: DemoNode, role: 'node' | 'witness' = 'node'): Promise<DemoNode> {
    const own = path.join(folder, id);
    const extensions = path.join(own, 'extensions');
    mkdirSync(path.join(extensions, 'extension'), { recursive: true, mode: 0o700 });
    const server =
      role === 'witness'
        ? undefined
        : await TestPostgres.start({
            settings: { extension_control_path: `${extensions}:$system`, wal_level: 'logical' },
          });
    const port = await freePort();
    const node = new DemoNode(id, port, own, server);
    const lines = [
      'repl:',
      `  node_id: ${id}`,
      server ? `  postgresql: { host: ${server.base}, user: postgres }` : '  role: witness',
      `  grpc: { bind: 127.0.0.1, port: ${port}, advertise: '${node.address}' }`,
      ...(join ? [`  cluster: { join: ['${join.address}'] }`] : []),
      `  state_dir: ${own}/state`,
      `  ipc: { path: ${own}/ipc.sock }`,
      '',
    ];
    writeFileSync(node.config, lines.join('\n'), { mode: 0o600 });
    console.log(`${node.config}\n${lines.join('\n')}`);
    return node;
  }

  run(): void {
    console.log(`${this.id}$ steep-repl run &`);
    const daemon = Bun.spawn(['bun', main, 'run'], {
      env: {
        ...process.env,
        PGPASSWORD: PASSWORD,
        STEEP_REPL_CONFIG: this.config,
        STEEP_REPL_LOG_FORMAT: 'pretty',
      },
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    this.daemon = daemon;
    void this.showLog(daemon.stderr);
  }

  /** Three daemons write into one terminal: each line says whose it is. */
  private async showLog(log: ReadableStream<Uint8Array>): Promise<void> {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of log) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) console.log(`${this.id.padEnd(7)} | ${line}`);
    }
  }

  /** `node_id status` of each node, and who coordinates, as this one knows it; undefined while it is not there. */
  async sees(): Promise<{ nodes: string[]; coordinator: string | null; term: number | null } | undefined> {
    try {
      using client = await IpcClient.connect(path.join(this.own, 'ipc.sock'), thisPlatform());
      const { nodes } = await client.call('nodes.list', {});
      const { node_id: coordinator, term } = await client.call('coordinator.get', {});
      return { nodes: nodes.map(({ node_id, status }) => `${node_id} ${status}`), coordinator, term };
    } catch {
      return undefined;
    }
  }

  /** As a power cut would end it. */
  async kill(): Promise<void> {
    this.daemon?.kill('SIGKILL');
    await this.daemon?.exited;
    await this.server?.signal('SIGKILL');
  }

  async stop(): Promise<void> {
    this.daemon?.kill('SIGTERM');
    const status = await this.daemon?.exited;
    if (status !== 0) throw new Error(`the daemon of ${this.id} ended with exit code ${status}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.daemon?.kill('SIGKILL');
    await this.daemon?.exited;
    await this.server?.[Symbol.asyncDispose]();
  }
}

async function show(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  say('two PostgreSQL 18 and a witness, and their configurations');
  const a = stack.use(await DemoNode.create('node-a'));
  const b = stack.use(await DemoNode.create('node-b', a));
  const w = stack.use(await DemoNode.create('witness', a, 'witness'));
  const all = [a, b, w];
  console.log('node-a$ below stands for a shell in which STEEP_REPL_CONFIG names the file of node-a.');

  say('the extension, out of the executable');
  for (const node of [a, b]) await steepRepl(node, 'init-extension', '--dir', `${node.own}/extensions`);

  say('certificates: a CA and node-a’s own, then one for each other node');
  await steepRepl(a, 'tls', 'init', '--host', '127.0.0.1');
  for (const { id, own } of [b, w])
    await steepRepl(a, 'tls', 'issue', id, '--host', '127.0.0.1', '--out', `${own}/certs`);

  say('the daemons: node-a founds a cluster, the others join it');
  a.run();
  await waitFor(async () => (await a.sees())?.coordinator === 'node-a', 'node-a to found its cluster');
  for (const node of [b, w]) node.run();
  await waitFor(() => settled(all, 'node-a'), 'each node to see the others, and one coordinator');
  say('what they know: each of them can be asked');
  await steepRepl(a, 'status');
  await steepRepl(b, 'nodes', 'list');
  await steepRepl(w, 'coordinator', 'show');
  await steepRepl(a, 'health', '--remote', b.address);

  if (failover) await showFailover(a, b, w);
  else if (once) await showOutage(a);
  else {
    say('they run (Ctrl-C ends them); try in another terminal');
    console.log(
      `${process.execPath} ${main} status --watch --config ${a.config}\npsql -h ${a.server?.base} -U postgres -c 'SELECT * FROM steep_repl.node_status()'`,
    );
    await interrupted;
  }

  say('the daemons are stopped');
  for (const node of all.toReversed()) await node.stop();
}

/** Whether all see all healthy, and the same coordinator. */
async function settled(all: DemoNode[], coordinator: string): Promise<boolean> {
  const seen = await Promise.all(all.map((node) => node.sees()));
  return seen.every(
    (one) =>
      one?.coordinator === coordinator &&
      one.nodes.length === all.length &&
      one.nodes.every((node) => node.endsWith(' healthy')),
  );
}

async function showOutage(a: DemoNode): Promise<void> {
  say('PostgreSQL of node-a is killed and comes back');
  const server = a.server!;
  await server.signal('SIGKILL');
  await Bun.sleep(500);
  await server.start();
  const restored = async (): Promise<boolean> =>
    (
      await server
        .query("SELECT FROM steep_repl.audit_log WHERE action = 'postgresql.restored'")
        .catch(() => [])
    ).length === 1;
  await waitFor(restored, 'the daemon to come back');
  await steepRepl(a, 'audit', '--action', 'coordinator.elected,postgresql.lost,postgresql.restored');
}

/** Kills the coordinator with its PostgreSQL, and tells what node-b sees from then on. */
async function showFailover(a: DemoNode, b: DemoNode, w: DemoNode): Promise<void> {
  say('node-a, which coordinates, dies: kill -9 of its daemon and of its PostgreSQL');
  const began = performance.now();
  const tell = (what: string): void =>
    console.log(`${((performance.now() - began) / 1000).toFixed(2).padStart(6)} s  ${what}`);
  await a.kill();
  tell('node-a is dead');
  let before = '';
  await waitFor(async () => {
    const seen = await b.sees();
    const now = `node-b sees  ${seen?.nodes.join(', ')};  coordinator: ${seen?.coordinator ?? 'none'}${seen?.coordinator ? `, term ${seen.term}` : ''}`;
    if (now !== before) tell(now);
    before = now;
    return seen?.coordinator === 'node-b' && seen.nodes.includes('node-a unreachable');
  }, 'node-b to take over');
  await steepRepl(w, 'status').catch(() => {}); // exit 4: a node is missing

  say('node-a comes back, and follows');
  await a.server!.start();
  a.run();
  await waitFor(() => settled([a, b, w], 'node-b'), 'node-a to follow');
  await steepRepl(a, 'status');
  await steepRepl(b, 'coordinator', 'transfer', 'node-a');
}

try {
  await show();
  say('everything is removed again');
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1); // and not by an uncaught exception, which would leave the files
}
