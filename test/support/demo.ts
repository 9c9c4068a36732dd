/**
 * `npm run demo`: two nodes, each a real PostgreSQL 18 and a daemon, that know each other by mutual TLS, until
 * Ctrl-C. `npm run demo -- --once`: shows them working, ends everything and exits 0.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from './ports.ts';
import { TestPostgres } from './postgres.ts';
import { waitFor } from './wait.ts';

const once = process.argv.includes('--once');
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

/** Runs a command of steep-repl as a user would, and shows it. */
async function steepRepl(...args: string[]): Promise<void> {
  console.log(`$ steep-repl ${args.join(' ')}`);
  const child = Bun.spawn(['bun', main, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  const status = await child.exited;
  if (status !== 0) throw new Error(`steep-repl ${args[0]} ended with exit code ${status}`);
}

/** A PostgreSQL, a configuration, and the daemon on them. */
class DemoNode implements AsyncDisposable {
  readonly id: string;
  readonly address: string;
  readonly own: string;
  readonly config: string;
  readonly server: TestPostgres;
  private daemon: Bun.Subprocess | undefined;

  private constructor(id: string, port: number, own: string, server: TestPostgres) {
    this.id = id;
    this.address = `127.0.0.1:${port}`;
    this.own = own;
    this.config = path.join(own, 'config.yaml');
    this.server = server;
  }

  static async create(id: string, join: DemoNode | undefined): Promise<DemoNode> {
    const own = path.join(folder, id);
    const extensions = path.join(own, 'extensions');
    mkdirSync(path.join(extensions, 'extension'), { recursive: true, mode: 0o700 });
    const server = await TestPostgres.start({
      settings: { extension_control_path: `${extensions}:$system`, wal_level: 'logical' },
    });
    const port = await freePort();
    const node = new DemoNode(id, port, own, server);
    const lines = [
      'repl:',
      `  node_id: ${id}`,
      `  postgresql: { host: ${server.base}, user: postgres }`,
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
    console.log(`$ steep-repl run --config ${this.config} &`);
    this.daemon = Bun.spawn(['bun', main, 'run', '--config', this.config], {
      env: { ...process.env, STEEP_REPL_LOG_FORMAT: 'pretty' },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  }

  /** How many nodes it sees healthy in its own PostgreSQL. */
  async sees(): Promise<number> {
    const rows = await this.server
      .query("SELECT FROM steep_repl.nodes WHERE status = 'healthy'")
      .catch(() => []);
    return rows.length;
  }

  async stop(): Promise<void> {
    this.daemon?.kill('SIGTERM');
    const status = await this.daemon?.exited;
    if (status !== 0) throw new Error(`the daemon of ${this.id} ended with exit code ${status}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.daemon?.kill('SIGKILL');
    await this.daemon?.exited;
    await this.server[Symbol.asyncDispose]();
  }
}

async function show(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  say('two PostgreSQL 18 and their configurations');
  const a = stack.use(await DemoNode.create('node-a', undefined));
  const b = stack.use(await DemoNode.create('node-b', a));

  say('the extension, out of the executable');
  for (const { config, own } of [a, b])
    await steepRepl('init-extension', '--config', config, '--dir', `${own}/extensions`);

  say('certificates: a CA and node-a’s own, then one for node-b');
  await steepRepl('tls', 'init', '--config', a.config, '--host', '127.0.0.1');
  await steepRepl(
    'tls',
    'issue',
    'node-b',
    '--config',
    a.config,
    '--host',
    '127.0.0.1',
    '--out',
    `${b.own}/certs`,
  );

  say('the daemons');
  a.run();
  b.run();
  await waitFor(async () => (await a.sees()) === 2 && (await b.sees()) === 2, 'each node to see the other');
  await steepRepl('status', '--config', a.config);
  await steepRepl('nodes', 'list', '--config', a.config);
  await steepRepl('nodes', 'list', '--config', b.config);
  await steepRepl('health', '--remote', b.address, '--config', a.config);

  if (once) {
    say('PostgreSQL of node-a is killed and comes back');
    await a.server.signal('SIGKILL');
    await Bun.sleep(500);
    await a.server.start();
    const restored = async (): Promise<boolean> =>
      (
        await a.server
          .query("SELECT FROM steep_repl.audit_log WHERE action = 'postgresql.restored'")
          .catch(() => [])
      ).length === 1;
    await waitFor(restored, 'the daemon to come back');
    await steepRepl('audit', '--config', a.config);
  } else {
    say('they run (Ctrl-C ends them); try');
    console.log(
      `bun ${main} status --watch --config ${a.config}\npsql -h ${a.server.base} -U postgres -c 'SELECT * FROM steep_repl.node_status()'`,
    );
    await interrupted;
  }

  say('the daemons are stopped');
  await b.stop();
  await a.stop();
}

try {
  await show();
  say('everything is removed again');
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1); // and not by an uncaught exception, which would leave the files
}
