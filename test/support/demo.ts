/**
 * `npm run demo`: a real PostgreSQL 18 and a daemon beside it, until Ctrl-C.
 * `npm run demo -- --once`: shows them working, ends everything and exits 0.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TestPostgres } from './postgres.ts';
import { waitFor } from './wait.ts';

const once = process.argv.includes('--once');
const root = path.join(import.meta.dir, '../..');
const folder = mkdtempSync(path.join(tmpdir(), 'sd-'));
process.env['TMPDIR'] = folder; // the server's files go into it too
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
  const child = Bun.spawn(['bun', path.join(root, 'src/main.ts'), ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const status = await child.exited;
  if (status !== 0) throw new Error(`steep-repl ${args[0]} ended with exit code ${status}`);
}

async function show(server: TestPostgres, sql: string): Promise<void> {
  console.log(`postgres=# ${sql};`);
  const rows = await server.query(sql);
  console.table(rows.map((row) => ({ ...row })));
}

async function main(): Promise<void> {
  say('a PostgreSQL 18 of its own');
  const extensions = path.join(folder, 'extensions');
  mkdirSync(path.join(extensions, 'extension'), { recursive: true });
  await using server = await TestPostgres.start({
    settings: { extension_control_path: `${extensions}:$system` },
  });
  console.log(`socket ${server.base}, user postgres`);

  say('its configuration');
  const config = path.join(folder, 'config.yaml');
  const yaml = `repl:\n  node_id: node-a\n  postgresql:\n    host: ${server.base}\n    user: postgres\n  grpc:\n    bind: 127.0.0.1\n  state_dir: ${folder}/state\n  ipc:\n    path: ${folder}/ipc.sock\n`;
  writeFileSync(config, yaml, { mode: 0o600 });
  console.log(yaml.trimEnd());

  say('the extension, out of the executable');
  await steepRepl('init-extension', '--config', config, '--dir', extensions);

  say('the daemon');
  console.log(`$ steep-repl run --config ${config}`);
  const daemon = Bun.spawn(['bun', path.join(root, 'src/main.ts'), 'run', '--config', config], {
    env: { ...process.env, STEEP_REPL_LOG_FORMAT: 'pretty' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    const registered = async (): Promise<boolean> =>
      (await server.query('SELECT FROM steep_repl.nodes')).length === 1;
    await waitFor(registered, 'the daemon to register');
    await show(server, 'SELECT node_id, host, port, status, last_seen FROM steep_repl.nodes');

    if (!once) {
      say(`it runs; look at it with  psql -h ${server.base} -U postgres  (Ctrl-C ends it)`);
      await Promise.race([interrupted, daemon.exited]);
    } else {
      say('PostgreSQL is killed and comes back');
      await server.signal('SIGKILL');
      await Bun.sleep(500);
      await server.start();
      const restored = async (): Promise<boolean> =>
        (await server.query("SELECT FROM steep_repl.audit_log WHERE action = 'postgresql.restored'"))
          .length === 1;
      await waitFor(restored, 'the daemon to come back');
    }

    say('the daemon is stopped');
    daemon.kill('SIGTERM');
    const status = await daemon.exited;
    if (status !== 0) throw new Error(`the daemon ended with exit code ${status}`);
    await show(
      server,
      'SELECT occurred_at, action, actor, target_id, success FROM steep_repl.audit_log ORDER BY id',
    );
  } finally {
    daemon.kill('SIGKILL');
    await daemon.exited;
  }
}

await main();
say('everything is removed again');
process.exit(0);
