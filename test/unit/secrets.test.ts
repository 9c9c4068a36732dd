/** The hunt itself: a run of tests that shows a secret fails. */
import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DaemonHome } from '../support/daemon.ts';
import { secretIn } from '../support/secrets.ts';

// Put together here, or this file's own text would be found when a failure prints it.
const password = ['steep', 'test', 'secret'].join('-');
const key = ['-----BEGIN EC', 'PRIVATE KEY-----'].join(' ');

test('passwords and private keys are recognised, certificates are not', () => {
  expect(secretIn(`{"password":"${password}-1"}`)).toStartWith('a password after');
  expect(secretIn(`x\n${key}\nAAAA`)).toStartWith('a private key after');
  expect(secretIn('-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----')).toBeUndefined();
});

test('a daemon that leaves one in its state_dir fails its test', async () => {
  const home = new DaemonHome(undefined, { config: { role: 'witness' } });
  const daemon = home.start();
  await daemon.logged('ready');
  writeFileSync(path.join(home.stateDir, 'left'), password);
  await expect(home[Symbol.asyncDispose]()).rejects.toThrow('left shows a password');
});

test('a run of tests that prints one fails, although each test passes', () => {
  const folder = mkdtempSync(path.join(import.meta.dir, '../tmp-secrets-'));
  try {
    const test_ = `import { test } from 'bun:test'; test('x', () => console.log('${password.slice(0, 5)}' + '${password.slice(5)}'));`;
    writeFileSync(path.join(folder, 'shows.test.ts'), test_);
    const runner = path.join(import.meta.dir, '../support/run-tests.ts');
    const { exitCode, stdout } = Bun.spawnSync(
      [process.execPath, runner, `${path.basename(folder)}/shows.test.ts`],
      {
        env: { ...process.env, TMPDIR: tmpdir() },
      },
    );
    expect(stdout.toString().replaceAll(password, '')).toContain('1 passed, 1 failed');
    expect(exitCode).toBe(1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
