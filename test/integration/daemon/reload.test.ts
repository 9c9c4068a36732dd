/** SIGHUP, retention, and secrets. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DaemonHome, shownBy } from '../../support/daemon.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { SECRET_MARK } from '../../support/secrets.ts';
import { waitFor } from '../../support/wait.ts';
import { actions, audited, newDatabase, untilAudited } from './support.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await TestPostgres.withExtension();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe('SIGHUP', () => {
  test.concurrent('takes a good file without dropping a connection, and says what waits for a restart', async () => {
    const database = await newDatabase(server);
    const postgresql = { database };
    await using home = new DaemonHome(server, { config: { postgresql } });
    const daemon = await home.connected();
    await untilAudited(server, 'daemon.started', database);
    const backends = async (): Promise<unknown[]> =>
      (
        await server.query(
          `select pid from pg_stat_activity where datname = '${database}' and application_name like 'steep-repl/%' order by pid`,
        )
      ).map((row) => row['pid']);
    const before = await backends();
    expect(daemon.lines.some(({ level }) => level === 'debug')).toBe(false);
    home.writeConfig(undefined, {
      postgresql,
      log: { level: 'debug' },
      heartbeat: { interval: '300ms' },
      priority: 99,
    });
    daemon.signal('SIGHUP');
    expect(await daemon.logged('configuration reloaded')).toMatchObject({
      changed: expect.arrayContaining(['log.level', 'heartbeat.interval']) as unknown,
    });
    expect(await daemon.logged('these changes take effect at the next start')).toMatchObject({
      level: 'warn',
      keys: ['priority'],
    });
    await untilAudited(server, 'config.changed', database);
    expect(await backends()).toEqual(expect.arrayContaining(before)); // the pool may have grown meanwhile
    expect(daemon.count('lost PostgreSQL')).toBe(0);
    const rows = await audited(server, database);
    expect(rows.map(({ action }) => action)).toEqual(['daemon.started', 'daemon.reloaded', 'config.changed']);
    expect(rows[1]).toMatchObject({ success: true, new_value: { at_next_start: ['priority'] } });
  });

  test.concurrent('with a broken file changes nothing, and says why', async () => {
    const database = await newDatabase(server);
    await using home = new DaemonHome(server, { config: { postgresql: { database } } });
    const daemon = await home.connected();
    home.writeRaw('repl:\n  node_id: x\n  log: { level: loud }\n  nonsense: 1\n');
    daemon.signal('SIGHUP');
    const line = await daemon.logged('configuration not reloaded; the running one stays in force');
    expect(line['error']).toContain('nonsense');
    expect(line['error']).toContain('loud');
    await waitFor(
      async () => (await audited(server, database)).some(({ success }) => !success),
      'the failed reload in the audit trail',
    );
    expect((await audited(server, database)).at(-1)).toMatchObject({
      action: 'daemon.reloaded',
      success: false,
      error_message: expect.stringContaining('nonsense') as unknown,
    });
    home.writeConfig(undefined, { postgresql: { database } });
    daemon.signal('SIGHUP');
    await daemon.logged('configuration reloaded');
    expect(daemon.running).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });

  test.concurrent('before the daemon is ready neither ends it nor is lost', async () => {
    const database = await newDatabase(server);
    await using home = new DaemonHome(server, { config: { postgresql: { database } } });
    const daemon = home.start();
    // From the moment at which it holds its lock: its handlers stand by then, and it is not ready yet.
    await waitFor(() => existsSync(path.join(home.stateDir, 'lock')), 'the lock');
    daemon.signal('SIGHUP');
    await daemon.logged('configuration reloaded');
    expect(daemon.running).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });
});

describe('retention', () => {
  test.concurrent('removes what is older, audits that once, and takes a reload at once', async () => {
    const database = await newDatabase(server);
    const postgresql = { database };
    await server.query(
      `insert into steep_repl.audit_log (occurred_at, action, actor) select now() - interval '40 days', 'node.updated', 'old' from generate_series(1, 25000);
       insert into steep_repl.audit_log (occurred_at, action, actor) select now() - interval '3 days', 'node.updated', 'young' from generate_series(1, 50)`,
      database,
    );
    await using home = new DaemonHome(server, {
      config: { postgresql, audit: { retention: '0', prune_interval: '1h' } },
    });
    const daemon = await home.connected();
    await untilAudited(server, 'daemon.started', database);
    home.writeConfig(undefined, { postgresql, audit: { retention: '30d', prune_interval: '1h' } });
    daemon.signal('SIGHUP');
    expect(await daemon.logged('pruned the audit trail', 20_000)).toMatchObject({ rows: 25_000 });
    const count = async (actor: string): Promise<unknown> =>
      (
        await server.query(
          `select count(*)::int as n from steep_repl.audit_log where actor = '${actor}'`,
          database,
        )
      )[0]!['n'];
    expect([await count('old'), await count('young')]).toEqual([0, 50]);
    daemon.signal('SIGHUP');
    await waitFor(() => daemon.count('configuration reloaded') === 2, 'the second reload');
    expect(await daemon.stop()).toBe(0);
    expect((await actions(server, database)).filter((one) => one === 'audit.pruned')).toHaveLength(1);
  });
});

describe('a password', () => {
  const SECRET = `pl4nted-${SECRET_MARK}-"7`;
  const FILE_SECRET = `from-the-c0mmand-${SECRET_MARK}-8`;

  /** A server on which the user must give a password. */
  async function strict(password: string): Promise<TestPostgres> {
    const own = TestPostgres.create();
    own.useExtension();
    await own.start();
    await own.query(
      `create extension steep_repl; create role app login password '${password}'; select steep_repl.grant_daemon('app')`,
    );
    own.writeHba(['local all app scram-sha-256', 'local all all trust']);
    await own.query('select pg_reload_conf()');
    await Bun.sleep(100);
    return own;
  }

  function filesBelow(folder: string): string[] {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .filter((file) => !file.includes('/.bun/')); // Bun's own copies of our sources
  }

  test.concurrent('in PGPASSWORD is nowhere to be seen but in the environment that it came in', async () => {
    await using own = await strict(SECRET);
    await using home = new DaemonHome(own, {
      config: { postgresql: { user: 'app' }, log: { level: 'debug' } },
    });
    const daemon = await home.connected({ env: { PGPASSWORD: SECRET } });
    await untilAudited(own, 'daemon.started');
    daemon.signal('SIGHUP');
    await daemon.logged('configuration reloaded');
    await own.query(
      `alter role app password 'another'; select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`,
    );
    await daemon.waitForLog(({ reason }) => reason === 'refused', 'the refusal');
    expect(shownBy(daemon.pid).cmdline).not.toContain(SECRET);
    expect(shownBy(daemon.pid).environ).toContain(SECRET); // so that this test can fail
    await daemon.stop();
    const trail = JSON.stringify(await own.query('select * from steep_repl.audit_log'));
    for (const text of [
      daemon.stderr,
      daemon.stdout,
      trail,
      ...filesBelow(home.folder).map((file) => readFileSync(file, 'utf8')),
    ])
      for (const shown of [SECRET, JSON.stringify(SECRET).slice(1, -1)]) expect(text).not.toContain(shown);
    expect(daemon.other).toEqual([]);
  });

  test.concurrent('of a command is nowhere to be seen, nor is PGPASSWORD in the environment of that command', async () => {
    await using own = await strict(FILE_SECRET);
    const secretFile = path.join(own.base, 'password');
    const seen = path.join(own.base, 'seen');
    writeFileSync(secretFile, `${FILE_SECRET}\n`);
    // Moved into place whole: each connection runs the command again.
    const look = `{ tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' ' ' < /proc/$PPID/cmdline; } > ${seen}.$$; mv ${seen}.$$ ${seen}`;
    const script = `${look}; echo oops ${FILE_SECRET.slice(0, 5)} >&2; cat ${secretFile}`;
    const postgresql = { user: 'app', password_command: ['/bin/sh', '-c', script] };
    await using home = new DaemonHome(own, { config: { postgresql, log: { level: 'debug' } } });
    const daemon = await home.connected({ env: { PGPASSWORD: SECRET } });
    const environ = readFileSync(seen, 'utf8');
    expect(environ).toContain(`HOME=${path.join(home.folder, 'home')}`);
    for (const secret of [SECRET, FILE_SECRET]) expect(environ).not.toContain(secret);
    for (const text of Object.values(shownBy(daemon.pid))) expect(text).not.toContain(FILE_SECRET);
    await untilAudited(own, 'daemon.started');
    // A command that fails, and one that prints something else than the password.
    writeFileSync(secretFile, 'wr0ng-and-Secret-9\nsecond line\n');
    await own.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`);
    await daemon.waitForLog(({ reason }) => reason === 'refused', 'the refusal');
    await daemon.stop();
    const places: Record<string, string> = {
      log: daemon.stderr,
      stdout: daemon.stdout,
      'audit trail': JSON.stringify(await own.query('select * from steep_repl.audit_log')),
    };
    // The configuration holds the command itself.
    for (const file of filesBelow(home.folder))
      places[file] = readFileSync(file, 'utf8').replaceAll(JSON.stringify(script), '');
    for (const [place, text] of Object.entries(places))
      for (const secret of [SECRET, FILE_SECRET, 'wr0ng-and-Secret-9', 'oops'])
        if (text.includes(secret)) throw new Error(`${secret} in ${place}: ${text.slice(0, 2000)}`);
    expect(daemon.other).toEqual([]);
  });
});
