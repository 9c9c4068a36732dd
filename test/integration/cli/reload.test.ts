import { expect, test } from 'bun:test';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';
import { DoorDaemon } from '../ipc/support.ts';

test('reload over IPC is audited in the name of the OS user who asked for it', async () => {
  await using server = await TestPostgres.withExtension();
  await using daemon = await DoorDaemon.start({ server });
  const outcome = await daemon.sandbox.run(['reload', '--socket', daemon.socket]);
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  const me = Bun.spawnSync(['id', '-un']).stdout.toString().trim();
  const actors = async (): Promise<unknown[]> =>
    (await server.query("SELECT actor FROM steep_repl.audit_log WHERE action = 'daemon.reloaded'")).map(
      ({ actor }) => actor,
    );
  await waitFor(async () => (await actors()).length === 1, 'the reload to be audited');
  expect(await actors()).toEqual([`postgres@local for ${me}`]);
});
