/** A row that one node's PostgreSQL refuses: a name with a letter that its encoding lacks, a constraint of the DBA. */
import { expect, test } from 'bun:test';
import { waitFor } from '../../support/wait.ts';
import { TestNode } from '../rpc/support.ts';

test('a node that cannot be written keeps no other out of the table, and status tells it until it can', async () => {
  await using a = await TestNode.start('node-a');
  await using b = await TestNode.create('node-b', { ca: a, join: [a.address] });
  await b.server.query(`ALTER TABLE steep_repl.nodes ADD CONSTRAINT no_a CHECK (node_id <> 'node-a')`);
  await b.up();
  await b.daemon.logged('joined the cluster');
  const written = async (): Promise<string> =>
    (await b.server.query('SELECT node_id FROM steep_repl.nodes ORDER BY 1'))
      .map((row) => row['node_id'] as string)
      .join();
  await waitFor(async () => (await written()) === 'node-b', 'the own row');
  const complaint = 'cannot write steep_repl.nodes';
  const told = await b.daemon.logged(complaint);
  expect(told['error']).toStartWith('node-a: new row for relation "nodes" violates check constraint "no_a"');

  const issues = async (): Promise<string[]> => {
    const { stdout } = await b.cli(['status', '--json']);
    return (JSON.parse(stdout) as { issues: { message: string }[] }).issues.map(({ message }) => message);
  };
  await waitFor(
    async () => (await issues()).includes(`${complaint}: ${told['error'] as string}`),
    'the issue in status',
  );
  await b.server.query('UPDATE steep_repl.nodes SET last_seen = NULL');
  await waitFor(
    async () =>
      (await b.server.query("SELECT FROM steep_repl.nodes WHERE last_seen > now() - interval '1 min'"))
        .length === 1,
    'the own heartbeat',
  );
  expect(b.daemon.count(complaint)).toBe(1);

  await b.server.query('ALTER TABLE steep_repl.nodes DROP CONSTRAINT no_a');
  await waitFor(async () => (await written()) === 'node-a,node-b', 'both rows');
  await waitFor(
    async () => !(await issues()).some((message) => message.startsWith(complaint)),
    'the end of the issue',
  );
});
