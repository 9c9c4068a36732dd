/** The service of a user, on a booted systemd machine. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { faultOf } from '../support/shapes.ts';
import { SystemdMachine } from '../support/systemd-machine.ts';

let machine: SystemdMachine;
beforeAll(async () => {
  machine = await SystemdMachine.boot();
  await machine.ok('useradd --create-home ann');
}, 120_000);
afterAll(async () => await machine[Symbol.asyncDispose]());

/** As after `su`: without the variables of a session. */
const asAnn = (command: string): string =>
  `cd / && setpriv --reuid=ann --regid=ann --init-groups --reset-env -- ${command}`;

test('without a session there is no manager, and install says so', async () => {
  await machine.ok(asAnn('steep-repl config init --node-id ann'));
  const refused = await machine.run(asAnn('steep-repl install --user'));
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('hint: log in as this user');
});

test('a user installs and starts a service without rights, and hears about linger', async () => {
  await machine.ok('systemctl start user@$(id -u ann)');
  await machine.ok(asAnn('steep-repl tls init'));
  const installed = await machine.ok(asAnn('steep-repl install --user'));
  expect(installed).toContain('write /home/ann/.config/systemd/user/steep-repl.service (mode 0644)');
  expect(installed).toContain('sudo loginctl enable-linger ann');
  expect(await machine.ok(asAnn('steep-repl start'))).toContain('(systemd, of this user) is ready');
  const { stdout } = await machine.run(asAnn('steep-repl status'));
  expect(stdout).toMatch(/State +running, .* \(systemd of this user, enabled\)/);
  expect(stdout).toMatch(/IPC +listening on \/run\/user\/\d+\/steep-repl\/steep-repl.sock/);
});

test('with linger it is there after a reboot', async () => {
  await machine.ok('loginctl enable-linger ann');
  expect(await machine.ok(asAnn('steep-repl install --user'))).not.toContain('linger');
  await machine.reboot();
  await machine.waitFor(asAnn('steep-repl status | grep "systemd of this user, enabled"'), 'the daemon');
  await machine.waitFor(asAnn('steep-repl logs | grep "daemon: ready"'), 'the log');
});

test('is restarted, reloaded, stopped and removed without a trace by its user', async () => {
  await machine.ok(
    asAnn('steep-repl restart && ') + asAnn('steep-repl reload && ') + asAnn('steep-repl stop'),
  );
  expect((await machine.run(asAnn('steep-repl status'))).code).toBe(3);
  expect(faultOf('uninstall', await machine.ok(asAnn('steep-repl uninstall --yes --json')))).toBeUndefined();
  await machine.ok('! find /home/ann/.config/systemd /run /tmp -name "*steep-repl*" ! -type d | grep .');
  expect((await machine.run(asAnn('steep-repl start'))).code).toBe(3);
});
