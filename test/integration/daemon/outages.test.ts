/** PostgreSQL goes, and the daemon stays, stops or dies: what is owed is written once, with the time at which it happened. */
import { TestPostgres } from '../../support/postgres.ts';
import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { IpcClient } from '../../../src/ipc/client.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import type { Issue } from '../../../src/operations/subject.ts';
import { DaemonHome } from '../../support/daemon.ts';
import { waitFor } from '../../support/wait.ts';
import { schemaOnly } from '../extension/support.ts';
import { actions, audited, untilAudited } from './support.ts';

const outbox = (home: DaemonHome): string =>
  readFileSync(path.join(home.stateDir, 'audit-outbox.jsonl'), 'utf8');

describe('a daemon', () => {
  test.concurrent('tells each loss and each return of PostgreSQL once, in its log and in the audit trail', async () => {
    await using server = await TestPostgres.withExtension();
    await using home = new DaemonHome(server);
    const daemon = await home.connected();
    await untilAudited(server, 'daemon.started');
    for (let round = 1; round <= 2; round++) {
      const lost = new Date();
      await server.signal('SIGKILL');
      await waitFor(() => daemon.count('lost PostgreSQL') === round, 'the loss in the log');
      await Bun.sleep(1500); // several attempts
      const back = new Date();
      await server.start();
      await waitFor(
        async () => (await actions(server)).filter((one) => one === 'postgresql.restored').length === round,
        'the return',
      );
      const rows = (await audited(server)).slice(-2);
      expect(rows.map(({ action }) => action)).toEqual(['postgresql.lost', 'postgresql.restored']);
      // When it happened, not when it could be written.
      expect(rows[0]!.occurred_at.getTime()).toBeLessThan(back.getTime() - 1000);
      expect(rows[0]!.occurred_at.getTime()).toBeGreaterThanOrEqual(lost.getTime() - 50);
      expect(rows[1]!.occurred_at.getTime()).toBeGreaterThanOrEqual(back.getTime() - 50);
      expect(rows[1]!.new_value!['away_seconds']).toBeGreaterThan(1);
    }
    expect(daemon.count('lost PostgreSQL')).toBe(2);
    expect(daemon.count('connected to PostgreSQL')).toBe(3);
    expect(await actions(server)).toEqual([
      'daemon.started',
      'postgresql.lost',
      'postgresql.restored',
      'postgresql.lost',
      'postgresql.restored',
    ]);
    const changes = daemon.lines
      .filter(({ component }) => component === 'postgresql')
      .map(({ msg, reason }) => `${msg} ${JSON.stringify(reason)}`);
    for (const [i, change] of changes.entries()) expect(changes[i + 1]).not.toBe(change);
    expect(await daemon.stop()).toBe(0);
  });

  test.concurrent('that starts before PostgreSQL records its start with the time at which it was', async () => {
    await using server = await TestPostgres.withExtension();
    await server.stop();
    await using home = new DaemonHome(server);
    const began = new Date();
    const daemon = home.start();
    await daemon.logged('PostgreSQL cannot be used');
    await daemon.logged('ready');
    await Bun.sleep(1000);
    await server.start();
    const back = Date.now();
    await untilAudited(server, 'daemon.started');
    expect(daemon.count('PostgreSQL cannot be used')).toBeLessThanOrEqual(2); // away, then perhaps starting
    const [row] = await audited(server);
    expect(row!.occurred_at.getTime()).toBeLessThan(back - 900);
    expect(row!.occurred_at.getTime()).toBeGreaterThanOrEqual(began.getTime());
    expect(await daemon.stop()).toBe(0);
    expect(await actions(server)).toEqual(['daemon.started', 'daemon.stopped']);
  });

  test.concurrent('that stops while PostgreSQL hangs does so in time, and the next run writes what was owed, once', async () => {
    await using server = await TestPostgres.withExtension();
    await using home = new DaemonHome(server);
    const daemon = await home.connected();
    await untilAudited(server, 'daemon.started');
    server.freeze('SIGSTOP');
    const stopping = new Date();
    expect(await daemon.stop()).toBe(0);
    const stopped = new Date();
    console.log(`stopped while PostgreSQL hangs: ${stopped.getTime() - stopping.getTime()} ms`);
    expect(existsSync(home.pidFile)).toBe(false);
    expect(outbox(home)).toContain('daemon.stopped');
    server.freeze('SIGCONT');
    await Bun.sleep(1000);
    const next = await home.connected();
    await waitFor(
      async () => (await actions(server)).filter((one) => one === 'daemon.started').length === 2,
      'the second start',
    );
    const rows = await audited(server);
    expect(rows.map(({ action }) => action).filter((one) => !one.startsWith('postgresql'))).toEqual([
      'daemon.started',
      'daemon.stopped',
      'daemon.started',
    ]);
    const row = rows.find(({ action }) => action === 'daemon.stopped');
    expect(row!.occurred_at.getTime()).toBeGreaterThanOrEqual(stopping.getTime() - 50);
    expect(row!.occurred_at.getTime()).toBeLessThanOrEqual(stopped.getTime());
    expect(await next.stop()).toBe(0);
    expect(outbox(home)).toBe('');
  });

  test.concurrent('that is killed during an outage, again and again, loses nothing and writes nothing twice', async () => {
    await using server = await TestPostgres.withExtension();
    await using home = new DaemonHome(server);
    const first = await home.connected();
    await untilAudited(server, 'daemon.started');
    await server.signal('SIGKILL');
    await first.logged('lost PostgreSQL');
    await waitFor(() => outbox(home).includes('postgresql.lost'), 'the loss on disk');
    await first.kill();
    for (let i = 0; i < 2; i++) {
      const daemon = home.start();
      await daemon.logged('PostgreSQL cannot be used');
      await waitFor(() => outbox(home).split('daemon.started').length === i + 2, 'the start on disk');
      await daemon.kill();
    }
    await server.start();
    const last = await home.connected();
    await waitFor(() => outbox(home) === '', 'an empty outbox');
    expect(await actions(server)).toEqual([
      'daemon.started',
      'postgresql.lost',
      'daemon.started',
      'daemon.started',
      'daemon.started',
    ]);
    await last.kill();
    const again = await home.connected();
    await waitFor(() => outbox(home) === '', 'an empty outbox');
    expect((await actions(server)).filter((one) => one === 'postgresql.lost')).toHaveLength(1);
    expect(await again.stop()).toBe(0);
  });

  test.concurrent('whose delivery was cut off after the server had it does not deliver twice', async () => {
    await using server = await TestPostgres.withExtension();
    await using home = new DaemonHome(server);
    await server.stop();
    const daemon = home.start();
    await daemon.logged('PostgreSQL cannot be used');
    await waitFor(
      () =>
        existsSync(path.join(home.stateDir, 'audit-outbox.jsonl')) && outbox(home).includes('daemon.started'),
      'the start on disk',
    );
    const owed = outbox(home);
    await daemon.kill();
    await server.start();
    // As if the daemon had died between the server's commit and its own note of it.
    const events = JSON.stringify(
      owed
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    );
    await server.query(`select steep_repl.record_events($events$${events}$events$)`);
    const next = await home.connected();
    await waitFor(() => outbox(home) === '', 'an empty outbox');
    expect(await actions(server)).toEqual(['daemon.started', 'daemon.started']);
    expect(await next.stop()).toBe(0);
  });

  test.concurrent('that misses a part of a schema without the extension says so once, until it is back', async () => {
    await using server = await TestPostgres.start();
    await server.query(schemaOnly());
    await using home = new DaemonHome(server);
    const daemon = await home.connected();
    await untilAudited(server, 'daemon.started');
    const issues = async (): Promise<Issue[]> => {
      using client = await IpcClient.connect(home.socket, thisPlatform());
      return (await client.call('status.get', {})).issues;
    };

    await server.query('alter function steep_repl.daemon_register_node rename to gone');
    const rows = await daemon.logged('cannot write steep_repl.nodes');
    expect(rows['error']).toStartWith('function steep_repl.daemon_register_node');
    await server.query('alter table steep_repl.audit_log rename to gone');
    daemon.signal('SIGHUP'); // writes into the trail
    const trail = await daemon.logged('the audit trail could not be written; it is kept');
    expect(trail['error']).toBe('relation "steep_repl.audit_log" does not exist');
    const hint = expect.stringContaining('steep-repl init-extension --print');
    for (const { msg, error } of [rows, trail])
      expect(await issues()).toContainEqual({
        severity: 'warning',
        message: `${msg}: ${error as string}`,
        hint,
      });
    await Bun.sleep(3000); // several attempts
    for (const { msg } of [rows, trail]) expect(daemon.count(msg)).toBe(1);
    expect(daemon.count('lost PostgreSQL')).toBe(0);

    await server.query('alter table steep_repl.gone rename to audit_log');
    await server.query('alter function steep_repl.gone rename to daemon_register_node');
    await untilAudited(server, 'daemon.reloaded');
    await waitFor(
      async () => !(await issues()).some(({ message }) => message.includes('does not exist')),
      'the end of the issues',
    );
    expect(await daemon.stop()).toBe(0);
  });

  test.concurrent('that a lock keeps from the audit trail says so once, and writes all of it when it is gone', async () => {
    await using server = await TestPostgres.withExtension();
    await using home = new DaemonHome(server, { config: { postgresql: { statement_timeout: '500ms' } } });
    const daemon = await home.connected();
    await untilAudited(server, 'daemon.started');
    await using locker = server.client();
    await locker.unsafe('begin; lock table steep_repl.audit_log');
    for (let i = 1; i <= 4; i++) {
      daemon.signal('SIGHUP'); // writes into the trail, and looks for what is to be pruned
      await waitFor(() => daemon.count('configuration reloaded') === i, `reload ${i}`);
      await Bun.sleep(1000);
    }
    const kept = await daemon.logged('the audit trail could not be written; it is kept');
    expect(kept).toMatchObject({ level: 'warn', error: 'canceling statement due to statement timeout' });
    await daemon.logged('pruning the audit trail was interrupted');
    expect(daemon.count(kept.msg)).toBe(1);
    expect(daemon.count('pruning the audit trail was interrupted')).toBe(1);
    const issues = async (): Promise<string[]> => {
      using client = await IpcClient.connect(home.socket, thisPlatform());
      return (await client.call('status.get', {})).issues.map(({ message }) => message);
    };
    expect(await issues()).toContain(`${kept.msg}: canceling statement due to statement timeout`);
    await locker.unsafe('rollback');
    await waitFor(
      async () => (await actions(server)).filter((action) => action === 'daemon.reloaded').length === 4,
      'the four reloads in the audit trail',
    );
    await waitFor(
      async () => !(await issues()).some((message) => message.includes('the audit trail')),
      'the end of both issues',
    );
  });
});
