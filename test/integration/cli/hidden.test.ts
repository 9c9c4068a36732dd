/** What programs start and people do not. */
import { expect, test } from 'bun:test';
import { Sandbox } from '../../support/cli.ts';

test('the process of the Windows service is in no list of commands, and refuses elsewhere', async () => {
  using sandbox = new Sandbox();
  const isListed = /^\s+'?service\b/m;
  expect((await sandbox.run(['--help'])).stdout).not.toMatch(isListed);
  expect((await sandbox.run(['completion', 'powershell'])).stdout).not.toMatch(isListed);
  expect(await sandbox.run(['service'])).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringContaining('only Windows starts its services this way'),
  });
});
