/** What was refused or lost once is tried again by itself, is told once, and is no longer told when it is well. */
import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { freePort } from '../../support/ports.ts';
import { waitFor } from '../../support/wait.ts';
import { type Issue, TestNode } from '../rpc/support.ts';

setDefaultTimeout(180_000);

async function issuesOf(node: TestNode): Promise<string[]> {
  return (await node.ask<{ issues: Issue[] }>('status.get')).issues.map(({ message }) => message);
}

async function untilIssue(node: TestNode, part: string, there = true): Promise<void> {
  await waitFor(
    async () => (await issuesOf(node)).some((message) => message.includes(part)) === there,
    `status ${there ? 'to say' : 'no longer to say'}: ${part}`,
  );
}

test('an extension that was made anew is told all again: the coordinator, and what it remembers of the node', async () => {
  await using node = await TestNode.start('node-a');
  await node.follows('node-a');
  const told = async (): Promise<unknown[]> =>
    (
      await node.server.query(
        `SELECT (SELECT node_id FROM steep_repl.nodes WHERE is_coordinator) AS coordinator,
           (SELECT value ->> 'serial' FROM steep_repl.coordinator_state WHERE key = 'cluster.daemon') AS serial`,
      )
    ).map((row) => [row['coordinator'], row['serial']]);
  await waitFor(async () => (await told()).join().startsWith('node-a,'), 'the tables to be filled');
  const before = await told();
  await node.server.query('DROP EXTENSION steep_repl CASCADE; CREATE EXTENSION steep_repl');
  await waitFor(
    async () => Bun.deepEquals(await told(), before),
    `the tables to say ${JSON.stringify(before)} again`,
  );
});

test('a server without a place for LISTEN is an issue until it has one', async () => {
  await using node = await TestNode.start('node-a');
  await node.server.query(`CREATE ROLE narrow LOGIN CONNECTION LIMIT 2`);
  await node.server.query(`SELECT steep_repl.grant_daemon('narrow')`);
  await node.restart({ postgresql: { host: node.server.base, port: node.server.port, user: 'narrow' } });
  await untilIssue(node, 'events cannot be heard: ');
  expect(node.daemon.count('events cannot be heard')).toBe(1);
  await node.server.query('ALTER ROLE narrow CONNECTION LIMIT 10');
  await untilIssue(node, 'events cannot be heard', false);
});

test('two addresses that let nobody in are told once each', async () => {
  const [one, other] = [await freePort(), await freePort()];
  await using node = await TestNode.start('node-a', { join: [`127.0.0.1:${one}`, `127.0.0.1:${other}`] });
  await waitFor(() => node.daemon.count('cannot join yet') >= 2, 'both to be tried');
  await Bun.sleep(3500); // three more rounds
  expect(node.daemon.count('cannot join yet')).toBe(2);
});

test('a port that somebody else has when the certificates come is waited for', async () => {
  await using node = await TestNode.start('node-a', { certificates: false });
  const holder = net.createServer().listen(node.port, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  const { code } = await node.cli(['tls', 'init', '--host', '127.0.0.1']);
  expect(code).toBe(0);
  await untilIssue(node, `cannot listen on 127.0.0.1:${node.port}`);
  await new Promise((resolve) => holder.close(resolve));
  await waitFor(
    async () => (await node.ask<{ grpc: { listening: boolean } }>('status.get')).grpc.listening,
    'the door to open',
  );
  await untilIssue(node, 'cannot listen on', false);
  expect(node.daemon.count('the door for other nodes cannot open')).toBe(1);
});

test('a state_dir that took no write is tried again, and no issue any more once it takes one', async () => {
  await using a = await TestNode.start('node-a');
  const file = path.join(a.home.stateDir, 'cluster.json');
  renameSync(file, `${file}.aside`);
  mkdirSync(path.join(file, 'in-its-way'), { recursive: true }); // no rename replaces that
  await using b = await TestNode.start('node-b', { ca: a, join: [a.address] });
  await untilIssue(a, 'state_dir cannot be written');
  await b.daemon.stop();
  rmSync(file, { recursive: true });
  await untilIssue(a, 'state_dir cannot be written', false);
});
