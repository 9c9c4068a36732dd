/** Start, stop, and being the only one. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DaemonHome } from '../../support/daemon.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { actions, audited, newDatabase, untilAudited } from './support.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await TestPostgres.withExtension({ max_connections: 300 });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** A home whose daemon uses a database that no other test does. */
async function home(config: Record<string, unknown> = {}): Promise<{ home: DaemonHome; database: string }> {
  const database = await newDatabase(server);
  const { postgresql = {}, ...others } = config;
  const own = new DaemonHome(server, {
    config: { postgresql: { database, ...(postgresql as object) }, ...others },
  });
  return { home: own, database };
}

describe('a daemon that starts', () => {
  test.concurrent('registers itself, says so once in the audit trail, and can be recognised at the server', async () => {
    const { home: own, database } = await home({ node_name: 'Berlin', priority: 70 });
    await using _ = own;
    const daemon = await own.connected();
    await waitFor(
      async () => (await server.query('select 1 from steep_repl.nodes', database)).length === 1,
      'the row',
    );
    const [row] = await server.query('select *, now() - last_seen as age from steep_repl.nodes', database);
    expect(row).toMatchObject({
      node_id: own.nodeId,
      node_name: 'Berlin',
      port: 5432,
      priority: 70,
      status: 'healthy',
    });
    const names = await server.query(
      `select distinct application_name from pg_stat_activity where datname = '${database}' and pid <> pg_backend_pid()`,
    );
    expect(names.map((one) => one['application_name'])).toEqual([`steep-repl/${own.nodeId}`]);
    await untilAudited(server, 'daemon.started', database);
    const started = (await audited(server, database)).filter(({ action }) => action === 'daemon.started');
    expect(started).toHaveLength(1);
    expect(started[0]).toMatchObject({
      target_id: own.nodeId,
      success: true,
      new_value: { pid: daemon.pid, config: own.configFile },
    });
    expect(readFileSync(own.pidFile, 'utf8')).toBe(`${daemon.pid}\n`);
    const ready = await daemon.logged('ready');
    expect(ready).toMatchObject({ level: 'info', component: 'daemon', pid: daemon.pid, node_id: own.nodeId });
    expect(daemon.other).toEqual([]);
  });

  test.concurrent('that is switched off says so and exits 0, touching nothing', async () => {
    const { home: own, database } = await home({ enabled: false });
    await using _ = own;
    const daemon = own.start();
    expect(await daemon.exited()).toBe(0);
    expect(daemon.stderr).toBe(`steep-repl is switched off: enabled is false in ${own.configFile}\n`);
    expect(existsSync(own.stateDir)).toBe(false);
    expect(await actions(server, database)).toEqual([]);
  });

  test.concurrent('with a broken configuration exits 2 and leaves nothing', async () => {
    const { home: own } = await home();
    await using _ = own;
    own.writeRaw('repl:\n  node_id: x\n  nonsense: 1\n');
    const daemon = own.start();
    expect(await daemon.exited()).toBe(2);
    expect(daemon.stderr).toContain('nonsense');
    expect(existsSync(own.stateDir)).toBe(false);
  });

  test.concurrent('as a witness needs no PostgreSQL, and touches none', async () => {
    await using own = new DaemonHome(undefined, { config: { role: 'witness' } });
    const daemon = own.start({ env: { PGHOST: '/nowhere', PGPASSWORD: 'x' } });
    await daemon.logged('ready');
    daemon.signal('SIGHUP');
    await daemon.logged('configuration reloaded');
    await Bun.sleep(300);
    expect(daemon.lines.filter(({ component }) => component === 'postgresql')).toEqual([]);
    expect(await daemon.stop()).toBe(0);
    expect(existsSync(path.join(own.stateDir, 'audit-outbox.jsonl'))).toBe(false);
  });

  test.concurrent('but cannot open a port exits 1, names who has it, and was never there', async () => {
    await using taken = {
      server: Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() }),
      [Symbol.asyncDispose]: async () => await taken.server.stop(true),
    };
    const { home: own, database } = await home({
      http: { enabled: true, bind: '127.0.0.1', port: taken.server.port },
    });
    await using _ = own;
    const daemon = own.start();
    const exited = await Promise.race([daemon.exited(), Bun.sleep(90_000).then(() => 'still there')]);
    expect(exited).toBe(1);
    expect(daemon.stderr).toContain(`127.0.0.1:${taken.server.port}`);
    expect(daemon.stderr).toContain(`pid ${process.pid}`);
    expect(await actions(server, database)).toEqual([]);
    expect(existsSync(own.pidFile)).toBe(false);
    expect(existsSync(own.socket)).toBe(false);
  });
});

describe('a daemon that is stopped', () => {
  test.concurrent.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s exits 0, records it, and leaves neither PID file nor lock',
    async (signal) => {
      const { home: own, database } = await home();
      await using _ = own;
      const daemon = await own.connected();
      await untilAudited(server, 'daemon.started', database);
      await daemon.logged('this node coordinates');
      expect(await daemon.stop(signal)).toBe(0);
      expect(await actions(server, database)).toEqual(['daemon.started', 'daemon.stopped']);
      expect((await audited(server, database))[1]).toMatchObject({
        new_value: { reason: signal },
        success: true,
      });
      expect(daemon.lines.slice(-3)).toMatchObject([
        { msg: 'stopping' },
        { msg: 'this node coordinates no more', term: 1, reason: 'it stops' },
        { msg: 'stopped' },
      ]);
      expect(existsSync(own.pidFile)).toBe(false);
      expect(existsSync(own.socket)).toBe(false);
      const [row] = await server.query(
        `select count(*)::int as n from pg_stat_activity where datname = '${database}' and pid <> pg_backend_pid()`,
      );
      expect(row).toMatchObject({ n: 0 });
      const next = await own.connected();
      expect(await next.stop()).toBe(0);
      expect(await actions(server, database)).toEqual([
        'daemon.started',
        'daemon.stopped',
        'daemon.started',
        'daemon.stopped',
      ]);
    },
  );

  test.concurrent('while a statement waits for a lock stops in time (exit 0), and the next run records it once', async () => {
    const { home: own, database } = await home();
    await using _ = own;
    const daemon = await own.connected();
    await untilAudited(server, 'daemon.started', database);
    const stopped = Date.now();
    {
      await using blocker = server.client({ database });
      await blocker.unsafe(
        'begin; lock table steep_repl.nodes, steep_repl.audit_log in access exclusive mode',
      );
      await Bun.sleep(1300);
      expect(await daemon.stop()).toBe(0);
      console.log(`stopped while its statements waited for a lock: ${Date.now() - stopped} ms`);
    }
    expect(existsSync(own.pidFile)).toBe(false);
    const next = await own.connected();
    await waitFor(async () => (await actions(server, database)).length >= 3, 'what was owed');
    expect(await next.stop()).toBe(0);
    expect(await actions(server, database)).toEqual([
      'daemon.started',
      'daemon.stopped',
      'daemon.started',
      'daemon.stopped',
    ]);
  });

  test.concurrent('by a second signal ends at once, without its PID file', async () => {
    const { home: own } = await home();
    await using _ = own;
    const daemon = await own.connected();
    // The stop has to wait: its last words wait for a lock.
    await using blocker = server.client({ database: await databaseOf(own) });
    await blocker.unsafe('begin; lock table steep_repl.audit_log in access exclusive mode');
    daemon.signal('SIGTERM');
    await daemon.logged('stopping');
    const began = performance.now();
    daemon.signal('SIGTERM');
    expect(await daemon.exited()).toBe(1);
    expect(performance.now() - began).toBeLessThan(8000);
    expect(daemon.count('stopped')).toBe(0);
    expect(existsSync(own.pidFile)).toBe(false);
  });

  test.concurrent('by kill -9 can be started again, and its row, PID file and lock are taken over', async () => {
    const { home: own, database } = await home();
    await using _ = own;
    for (let i = 0; i < 3; i++) {
      const daemon = await own.connected();
      await daemon.kill();
      expect(existsSync(own.pidFile)).toBe(true);
    }
    const last = await own.connected();
    expect(readFileSync(own.pidFile, 'utf8')).toBe(`${last.pid}\n`);
    await waitFor(async () => (await actions(server, database)).length === 4, 'four starts');
    expect(new Set(await actions(server, database))).toEqual(new Set(['daemon.started']));
  });

  test.concurrent('goes on when nobody reads its log any more', async () => {
    const { home: own, database } = await home();
    await using _ = own;
    const command = ['sh', '-c', '"$@" 2>&1 >/dev/null | head -n 1', 'sh'];
    const daemon = own.start({ prefix: command });
    await untilAudited(server, 'daemon.started', database);
    const pid = Number(readFileSync(own.pidFile, 'utf8'));
    for (let i = 0; i < 3; i++) {
      process.kill(pid, 'SIGHUP'); // is logged
      await Bun.sleep(100);
    }
    process.kill(pid, 0);
    expect(await actions(server, database)).not.toContain('daemon.error');
    process.kill(pid, 'SIGTERM');
    await daemon.exited();
    await untilAudited(server, 'daemon.stopped', database);
  });
});

async function databaseOf(own: DaemonHome): Promise<string> {
  const { repl } = (await Bun.file(own.configFile).json()) as { repl: { postgresql: { database: string } } };
  return repl.postgresql.database;
}

describe('two daemons', () => {
  test.concurrent('with one state_dir are one: the second exits 1 and names the first', async () => {
    const { home: own, database } = await home();
    await using _ = own;
    const first = await own.connected();
    const second = own.start();
    expect(await second.exited()).toBe(1);
    expect(second.stderr).toContain(`another daemon uses state_dir ${own.stateDir}: pid ${first.pid}`);
    expect(readFileSync(own.pidFile, 'utf8')).toBe(`${first.pid}\n`);
    expect(first.running).toBe(true);
    expect(await actions(server, database)).toEqual(['daemon.started']);
  });

  test.concurrent('on one database are one: the second exits 1 and names who holds it', async () => {
    const { home: own, database } = await home();
    await using _ = own;
    const first = await own.connected();
    await untilAudited(server, 'daemon.started', database);
    await using other = new DaemonHome(server, { config: { postgresql: { database } } });
    const second = other.start();
    const began = performance.now();
    expect(await second.exited()).toBe(1);
    console.log(
      `the second daemon on one database gave up after ${Math.round(performance.now() - began)} ms`,
    );
    expect(second.stderr).toContain(`is held by steep-repl/${own.nodeId} from this host`);
    expect(second.count('PostgreSQL cannot be used')).toBe(1);
    expect(first.running).toBe(true);
    expect(await actions(server, database)).toEqual(['daemon.started']);
    expect(
      (await server.query('select node_id from steep_repl.nodes', database)).map((row) => row['node_id']),
    ).toEqual([own.nodeId]);
    expect(existsSync(other.pidFile)).toBe(false);
  });

  test.concurrent('of one long name, which the server cuts: the second waits until the first is surely gone', async () => {
    const database = await newDatabase(server);
    const options = { nodeId: `n${'o'.repeat(62)}`, config: { postgresql: { database } } };
    await using first = new DaemonHome(server, options);
    await using second = new DaemonHome(server, options);
    const dying = await first.connected();
    const waiting = second.start();
    const { error } = await waiting.logged('PostgreSQL cannot be used');
    expect(error).toContain(`is held by steep-repl/n${'o'.repeat(51)} from this host`);
    await Bun.sleep(4000); // as long again as a daemon of another name would have waited
    await dying.kill();
    await waiting.logged('connected to PostgreSQL');
  });

  test.concurrent('of one name in two folders do not take each other’s PID file', async () => {
    const { home: own } = await home();
    await using _ = own;
    const first = await own.connected();
    const database = await newDatabase(server);
    await using other = new DaemonHome(server, { nodeId: own.nodeId, config: { postgresql: { database } } });
    // The same place for PID files, as two services of one machine have.
    const second = await other.connected({ env: { XDG_RUNTIME_DIR: path.join(own.folder, 'run') } });
    expect(readFileSync(own.pidFile, 'utf8')).toBe(`${first.pid}\n`);
    expect(readFileSync(path.join(other.stateDir, 'daemon.pid'), 'utf8')).toBe(`${second.pid}\n`);
    expect(await second.stop()).toBe(0);
    expect(readFileSync(own.pidFile, 'utf8')).toBe(`${first.pid}\n`);
    expect(await first.stop()).toBe(0);
  });

  test.concurrent('and more live side by side on one host, each with its own database', async () => {
    await using homes = new AsyncDisposableStack();
    const all = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const one = await home();
        homes.use(one.home);
        return { ...one, daemon: await one.home.connected() };
      }),
    );
    for (const { daemon, database } of all) {
      await untilAudited(server, 'daemon.started', database);
      expect(await daemon.stop()).toBe(0);
      expect(await actions(server, database)).toEqual(['daemon.started', 'daemon.stopped']);
    }
  });
});

describe('a state_dir', () => {
  test.concurrent('that others may write is refused with exit 5', async () => {
    const { home: own } = await home();
    await using _ = own;
    mkdirSync(own.stateDir);
    chmodSync(own.stateDir, 0o777);
    const daemon = own.start();
    expect(await daemon.exited()).toBe(5);
    expect(daemon.stderr).toContain(`state_dir ${own.stateDir} can be written by others: its mode is 0777`);
    expect(daemon.stderr).toContain(`chmod go-w ${own.stateDir}`);

    // As /tmp: nobody can replace our files there, but put others beside them before we come.
    chmodSync(own.stateDir, 0o1777);
    const shared = own.start();
    expect(await shared.exited()).toBe(5);
    expect(shared.stderr).toContain('can be written by others: its mode is 1777');
    expect(shared.stderr).toContain('set state_dir to a folder of its own');
    expect(readdirSync(own.stateDir)).toEqual([]);
  });

  test.concurrent('that cannot be made, or written by an ordinary user, is fatal in one line', async () => {
    const { home: own } = await home();
    await using _ = own;
    writeFileSync(own.stateDir, 'a file');
    const first = own.start();
    expect(await first.exited()).toBe(1);
    expect(first.stderr).toContain(`state_dir ${own.stateDir} cannot be made`);
    expect(first.stderr).not.toContain('    at ');

    const { home: closed } = await home();
    await using __ = closed;
    mkdirSync(closed.stateDir, { mode: 0o555 });
    const prefix =
      process.getuid?.() === 0
        ? [
            'unshare',
            '--user',
            '--map-user=1000',
            '--map-group=1000',
            '--',
            'setpriv',
            '--bounding-set=-all',
            '--inh-caps=-all',
            '--',
          ]
        : [];
    const second = closed.start({ prefix });
    expect(await second.exited()).toBe(1);
    expect(second.stderr).toContain(closed.stateDir);
    expect(second.stderr).toContain('EACCES');
    expect(second.stderr).not.toContain('    at ');
    expect(existsSync(closed.pidFile)).toBe(false);
  });
});
