/** What the commands of the service refuse wherever they are typed; test/systemd and test/windows have the rest. */
import { describe, expect, test } from 'bun:test';
import { Sandbox } from '../../support/cli.ts';

const compiled = process.env['STEEP_REPL_BINARY'] !== undefined;

describe('install', () => {
  test('has no --run-as for the service of a user', async () => {
    using sandbox = new Sandbox();
    expect(await sandbox.run(['install', '--user', '--run-as', 'root'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('--run-as is for the service of the machine, not with --user'),
    });
  });

  test('refuses a configuration that is not there, with the command that makes one', async () => {
    using sandbox = new Sandbox();
    const { code, stderr } = await sandbox.run(['install', '--user']);
    expect(code).toBe(2);
    expect(stderr).toContain('steep-repl config init');
  });

  test.skipIf(compiled)('takes no sources, which a service cannot be started from', async () => {
    using sandbox = new Sandbox();
    sandbox.writeConfig({ node_id: 'a', role: 'witness' });
    expect(await sandbox.run(['install', '--user', '--config', sandbox.config])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('only the compiled executable can be a service\n  hint: bun run build'),
    });
  });

  test.skipIf(!compiled || process.platform !== 'linux')(
    'says where there is no systemd how to do without, and writes nothing',
    async () => {
      using sandbox = new Sandbox();
      sandbox.writeConfig({ node_id: 'a', role: 'witness', grpc: { enabled: false } });
      const { code, stdout, stderr } = await sandbox.run(['install', '--user', '--config', sandbox.config], {
        env: { PATH: '/nowhere' },
      });
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain('systemctl is not there\n  hint: without a service manager:  steep-repl run');
      const units = new Bun.Glob('**/*.service').scanSync({ cwd: sandbox.folder, dot: true });
      expect([...units]).toEqual([]);
    },
  );
});
