/** The screens of status and its sisters in every state of the daemon, as a DBA reads them. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chownSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { type Outcome, Sandbox, steepReplCommand } from '../../support/cli.ts';
import { nativeDir, POSTGRES_17, TestPostgres } from '../../support/postgres.ts';
import { ask as rawAsk } from '../../support/ipc-raw.ts';
import { waitFor } from '../../support/wait.ts';
import { DoorDaemon } from '../ipc/support.ts';
import { expectScreen } from './screen.ts';

/** What differs from run to run, and what stands for it in a screen. */
function namesOf(daemon: DoorDaemon, postgres?: TestPostgres): Record<string, string> {
  return {
    [postgres?.base ?? daemon.sandbox.folder]: '<socket folder>',
    [daemon.socket]: '<ipc socket>',
    [daemon.sandbox.folder]: '<folder>',
  };
}

async function ask(daemon: DoorDaemon, ...words: string[]): Promise<Outcome> {
  return await daemon.sandbox.run([...words, '--socket', daemon.socket]);
}

/** Waits until `status` is as wanted: states change within seconds, on a slow machine later. */
async function untilStatus(daemon: DoorDaemon, wanted: (outcome: Outcome) => boolean): Promise<Outcome> {
  let outcome = await ask(daemon, 'status');
  await waitFor(async () => wanted((outcome = await ask(daemon, 'status'))), 'the status');
  return outcome;
}

let server: TestPostgres;
beforeAll(async () => {
  server = await TestPostgres.withExtension();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('without a daemon', () => {
  test('status, health and nodes list are exit 3 with what to do', async () => {
    using sandbox = new Sandbox();
    const socket = path.join(sandbox.folder, 'nobody.sock');
    for (const words of [['status'], ['health'], ['nodes', 'list'], ['audit'], ['reload']]) {
      const outcome = await sandbox.run([...words, '--socket', socket]);
      expect(outcome).toEqual({
        code: 3,
        stdout: '',
        stderr: `steep-repl: no daemon answers at ${socket}\n  hint: start it:  steep-repl run;  or name its socket with --socket\n`,
      });
    }
    expectScreen('not-running', 'status', await sandbox.run(['status', '--socket', socket]), {
      [socket]: '<ipc socket>',
    });
    const json = await sandbox.run(['status', '--json', '--socket', socket]);
    expect(json).toMatchObject({ code: 3, stderr: '' });
    expect(JSON.parse(json.stdout)).toMatchObject({ state: 'not running', issues: [{ severity: 'error' }] });
  });

  test.skipIf(process.getuid?.() !== 0)(
    'a socket of another user is not believed: exit 5 (needs root)',
    async () => {
      using sandbox = new Sandbox();
      const socket = path.join(sandbox.folder, 'theirs.sock');
      const squatter = net.createServer();
      await new Promise<void>((resolve) => squatter.listen(socket, resolve));
      chownSync(socket, 4242, 4242);
      const outcome = await sandbox.run(['status', '--socket', socket]);
      expectScreen('socket-of-another-user', 'status', outcome, { [socket]: '<ipc socket>' });
      await new Promise<void>((resolve) => squatter.close(() => resolve()));
    },
  );
});

describe('with a daemon', () => {
  test('all well: the screen, exit 0', async () => {
    await using own = await TestPostgres.withExtension();
    await using daemon = await DoorDaemon.start({ server: own, config: { node_name: 'Berlin' } });
    await daemon.untilCoordinator();
    const outcome = await untilStatus(daemon, ({ stdout }) => stdout.includes('Nodes        1: 1 healthy'));
    expectScreen('well', 'status', outcome, namesOf(daemon, own));
    const health = await ask(daemon, 'health');
    expect(health.code).toBe(0);
    expect(health.stdout).toStartWith(
      'healthy\n\nCOMPONENT   HEALTH  STATUS     DETAIL\npostgresql  ok      connected  18.',
    );
    const list = await ask(daemon, 'nodes', 'list');
    const columns = list.stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(columns[0]).toEqual([
      'NODE',
      'NAME',
      'STATUS',
      'POSTGRESQL',
      'RPC',
      'PRIORITY',
      'VOTES',
      'COORDINATOR',
      'ROUND TRIP',
      'LAST SEEN',
    ]);
    expect(columns[1]!.toSpliced(3, 1).slice(0, -1)).toEqual([
      'node-a',
      'Berlin',
      'healthy',
      '-',
      '50',
      'yes',
      'yes',
      '-',
    ]);
    const one = await ask(daemon, 'nodes', 'get', 'node-a', '--json');
    expect(JSON.parse(one.stdout)).toMatchObject({ node: { node_id: 'node-a', status: 'healthy' } });
    expect(await ask(daemon, 'nodes', 'get', 'node-x')).toMatchObject({ code: 1, stdout: '' });
    const shown = await ask(daemon, 'coordinator', 'show');
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toMatch(
      /^Coordinator {2}node-a\nTerm {9}1\nSince {8}\S+, for \d+s\nLease {8}3000 ms\nVoters {7}node-a\nReachable {4}node-a\n$/,
    );
    const info = await ask(daemon, 'coordinator', 'show', '--json');
    expect(info).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(info.stdout)).toEqual({
      node_id: 'node-a',
      term: 1,
      since: expect.any(String),
      lease_ms: 3000,
      voters: ['node-a'],
      reachable_voters: ['node-a'],
    });
    expect((await ask(daemon, 'nodes', 'list', '--status', 'nonsense')).code).toBe(2);
  });

  test('a frozen PostgreSQL: exit 4, what is wrong and what to do; well again afterwards', async () => {
    await using daemon = await DoorDaemon.start({ server });
    await untilStatus(daemon, ({ stdout }) => stdout.includes('Nodes '));
    server.freeze('SIGSTOP');
    try {
      // It has given up its lease then, and an attempt to connect again was in vain.
      const outcome = await untilStatus(
        daemon,
        ({ stdout }) =>
          stdout.includes('no coordinator at the moment') && stdout.includes('did not answer within'),
      );
      expectScreen('postgresql-hangs', 'status', outcome, namesOf(daemon, server));
      expect((await ask(daemon, 'health')).code).toBe(4);
      expect((await ask(daemon, 'nodes', 'list')).code).toBe(0); // as last read
      expect((await ask(daemon, 'audit')).code).toBe(7);
    } finally {
      server.freeze('SIGCONT');
    }
    expect((await untilStatus(daemon, ({ code }) => code === 0)).code).toBe(0);
  });

  test('nobody at the address, PostgreSQL 17, no extension, no database: each says which', async () => {
    await using old = await TestPostgres.start({ native: nativeDir(POSTGRES_17) });
    await server.query('CREATE DATABASE bare');
    const cases: [string, { server?: TestPostgres; config?: Record<string, unknown> }][] = [
      ['postgresql-down', {}],
      ['postgresql-17', { server: old }],
      [
        'no-extension',
        { server, config: { postgresql: { host: server.base, user: 'postgres', database: 'bare' } } },
      ],
      [
        'no-database',
        { server, config: { postgresql: { host: server.base, user: 'postgres', database: 'absent' } } },
      ],
    ];
    for (const [name, options] of cases) {
      await using daemon = new DoorDaemon(options);
      await waitFor(() => daemon.log.includes('"msg":"ready"'), 'the daemon to be ready');
      const outcome = await untilStatus(daemon, ({ stdout }) => stdout.includes('\n! '));
      expectScreen(name, 'status', outcome, namesOf(daemon, options.server));
    }
  });

  test('it is frozen: exit 6 in every command, within seconds', async () => {
    await using daemon = await DoorDaemon.start({});
    daemon.process.kill('SIGSTOP');
    const commands = [
      ['status'],
      ['health'],
      ['nodes', 'list'],
      ['nodes', 'get', 'a'],
      ['coordinator', 'show'],
    ];
    const outcomes = await Promise.all(commands.map((words) => ask(daemon, ...words)));
    const json = await ask(daemon, 'status', '--json');
    daemon.process.kill('SIGCONT');
    expect([json.code, JSON.parse(json.stdout)]).toMatchObject([6, { state: 'unknown' }]);
    for (const outcome of outcomes) expectScreen('daemon-hangs', 'status', outcome, namesOf(daemon));
  });

  // Between its first door and the others lie milliseconds: here somebody in the middle holds the moment.
  test('it starts: exit 4', async () => {
    await using daemon = await DoorDaemon.start({ server });
    await untilStatus(daemon, ({ code }) => code === 0);
    const address = path.join(daemon.sandbox.folder, 'relay.sock');
    const relay = net.createServer((client) => {
      const inner = net.connect(daemon.socket);
      client.pipe(inner);
      inner.setEncoding('utf8');
      inner.on('data', (text: string) =>
        client.write(text.replace('"state":"running"', '"state":"starting"')),
      );
      inner.on('close', () => client.destroy());
      client.on('error', () => {}).on('close', () => inner.destroy());
    });
    await new Promise<void>((resolve) => relay.listen(address, resolve));
    const outcome = await daemon.sandbox.run(['status', '--socket', address]);
    await new Promise<void>((resolve) => relay.close(() => resolve()));
    expectScreen('starting', 'status', outcome, namesOf(daemon, server));
  });

  test('it stops, and its PostgreSQL hangs: exit 4', async () => {
    await using own = await TestPostgres.withExtension();
    await using daemon = await DoorDaemon.start({ server: own });
    await daemon.untilSettled(own);
    own.freeze('SIGSTOP');
    daemon.process.kill('SIGTERM');
    await waitFor(() => daemon.log.includes('"msg":"stopping"'), 'it to stop');
    const asked = await rawAsk(daemon.socket, 'status.get');
    const { code, stdout } = await ask(daemon, 'status');
    own.freeze('SIGCONT');
    expect(asked.result.state).toBe('stopping');
    // On a busy machine it may be gone before the command has begun to ask.
    expect(['4 stopping', '3 undefined']).toContain(`${code} ${/^State +(\w+)/m.exec(stdout)?.[1]}`);
  });

  test('--watch shows it again and again', async () => {
    await using daemon = await DoorDaemon.start({ server });
    const { stdout } = await daemon.sandbox.run(['status', '--watch', '--socket', daemon.socket], {
      limit: 3500,
    });
    expect(stdout.match(/^steep-repl 0\.1\.0 on node-a/gm)?.length).toBeGreaterThanOrEqual(2);
  });

  test('doctor looks at everything, and fails for a publication of all tables', async () => {
    await using daemon = await DoorDaemon.start({ server });
    const args = ['doctor', '--config', daemon.sandbox.config, '--json'];
    const well = await daemon.sandbox.run(args);
    const { checks } = JSON.parse(well.stdout) as {
      checks: { name: string; status: string; message: string; hint: string | null }[];
    };
    expect(checks.filter(({ status }) => status === 'fail')).toEqual([]);
    expect(well.code).toBe(0);
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['file', 'state_dir', 'disk', 'postgresql', 'server settings', 'daemon']),
    );
    expect(checks.find(({ message }) => message.startsWith('wal_level'))).toMatchObject({ status: 'note' });
    await server.query('CREATE PUBLICATION everything FOR ALL TABLES');
    const ill = await daemon.sandbox.run(args);
    await server.query('DROP PUBLICATION everything');
    expect(ill.code).toBe(1);
    expect(ill.stdout).toContain('publication everything is FOR ALL TABLES');
  });

  test('config check connects to PostgreSQL', async () => {
    using sandbox = new Sandbox();
    const config = {
      node_id: 'node-a',
      grpc: { enabled: false },
      postgresql: { host: server.base, user: 'postgres' },
    };
    sandbox.writeConfig(config);
    const well = await sandbox.run(['config', 'check', '--config', sandbox.config]);
    expect(well).toMatchObject({ code: 0, stderr: '' });
    expect(well.stdout).toContain('PostgreSQL 18.');
    sandbox.writeConfig({ ...config, postgresql: { host: sandbox.folder } });
    const ill = await sandbox.run(['config', 'check', '--config', sandbox.config]);
    expect(ill.code).toBe(1);
    expect(ill.stdout).toContain('no such socket');
  });
});

describe('audit', () => {
  test('filters, counts, and shows the oldest first', async () => {
    await using daemon = await DoorDaemon.start({ server });
    await server.query(
      "SELECT steep_repl.register_node('audited', 'first', 'h'); SELECT steep_repl.register_node('audited', 'second', 'h')",
    );
    const text = await ask(daemon, 'audit', '--target', 'node:audited');
    expect(text.stdout.trim().split('\n')).toHaveLength(2);
    expect(text.stdout).toContain('node_name: first → second');
    const json = await ask(
      daemon,
      'audit',
      '--action',
      'node.registered,node.updated',
      '--target',
      'node:audited',
      '-n',
      '1',
      '--json',
    );
    expect(JSON.parse(json.stdout)).toMatchObject([{ action: 'node.updated', actor: 'postgres@local' }]);
    expect((await ask(daemon, 'audit', '--since', '1h', '--until', '2001-01-01')).stdout).toBe('');
    for (const wrong of [
      ['--since', 'yesterday'],
      ['--target', 'node'],
      ['-n', 'many'],
    ])
      expect((await ask(daemon, 'audit', ...wrong)).code).toBe(2);
    await server.query("SELECT steep_repl.remove_node('audited')");
  });

  test('-f shows every entry once across a restart of PostgreSQL', async () => {
    await using own = await TestPostgres.withExtension();
    await using daemon = await DoorDaemon.start({ server: own });
    const following = Bun.spawn(
      [...steepReplCommand, 'audit', '-f', '--json', '-n', '0', '--socket', daemon.socket],
      { env: daemon.sandbox.env, cwd: daemon.sandbox.folder, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let stdout = '';
    const reading = (async () => {
      for await (const chunk of following.stdout) stdout += new TextDecoder().decode(chunk);
    })();
    await waitFor(async () => {
      await own.query(`SELECT steep_repl.register_node('probe', '${crypto.randomUUID()}', 'h')`);
      return stdout !== '';
    }, 'it to follow');
    let written = 0;
    const write = async (): Promise<void> => {
      written += 1;
      await own.query(`SELECT steep_repl.register_node('n${written}', 'n', 'h')`);
    };
    for (let i = 0; i < 20; i++) await write();
    await own.signal('SIGKILL');
    await own.start();
    for (let i = 0; i < 20; i++) await write();
    await waitFor(() => stdout.includes(`"target_id":"n${written}"`), 'the last entry');
    await Bun.sleep(500); // what should not come has had time to
    following.kill('SIGINT');
    expect(await following.exited).toBe(0);
    await reading;
    const seen = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string; target_id: string });
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
    const nodes = seen.map(({ target_id }) => target_id).filter((id) => /^n\d+$/.test(id));
    expect(nodes.toSorted()).toEqual(Array.from({ length: written }, (_, i) => `n${i + 1}`).toSorted());
  });
});
