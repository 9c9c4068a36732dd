/** The packages: the .deb lives through install, upgrade, removal and purge on a booted machine. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildDeb } from '../../build/deb.ts';
import { buildRpm } from '../../build/rpm.ts';
import { dist } from '../support/release.ts';
import { SystemdMachine } from '../support/systemd-machine.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'packages-'));
const options = {
  executable: path.join(dist, 'steep-repl-linux-x64'),
  arch: 'x64',
  licenses: path.join(dist, 'THIRD-PARTY-LICENSES.txt'),
  date: new Date('2026-01-02T03:04:05Z'),
  folder,
} as const;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function ask(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr.toString()}`);
  return stdout.toString();
}

describe('the .deb', () => {
  let machine: SystemdMachine;
  let older = '';
  beforeAll(async () => {
    older = path.join(folder, buildDeb({ ...options, version: '0.0.8-rc.1' }));
    machine = await SystemdMachine.boot({ executable: false });
    await machine.ok('rm -f /usr/local/bin/steep-repl; hash -r');
  });
  afterAll(async () => await machine[Symbol.asyncDispose]());

  async function install(deb: string): Promise<void> {
    const outcome = await machine.run(
      'cat >/root/steep-repl.deb && dpkg -i /root/steep-repl.deb',
      Bun.file(deb),
    );
    if (outcome.code !== 0) throw new Error(outcome.stdout + outcome.stderr);
  }

  test('brings executable, unit, user and what to read, and starts nothing', async () => {
    await install(older);
    expect(await machine.ok("dpkg-query -W -f '${Version}' steep-repl")).toBe('0.0.8~rc.1');
    expect(await machine.ok('command -v steep-repl')).toBe('/usr/bin/steep-repl');
    expect(await machine.ok('getent passwd steep-repl')).toMatch(/:\/usr\/sbin\/nologin$/);
    expect(await machine.ok('systemctl is-enabled steep-repl || true')).toBe('disabled');
    expect(await machine.show('ActiveState')).toBe('inactive');
    expect(await machine.ok('cat /usr/share/doc/steep-repl/copyright')).toContain('MIT License');
    await machine.ok('bash -n /usr/share/bash-completion/completions/steep-repl');
    expect(await machine.ok('find / -xdev -newer /root/steep-repl.deb -perm -o+w -name "*steep*"')).toBe('');
  });

  test('has an example that is a valid configuration', async () => {
    await machine.ok(
      'umask 077 && mkdir -m 755 /etc/steep && cp /usr/share/doc/steep-repl/examples/config.yaml /etc/steep/',
    );
    await machine.ok('steep-repl config show');
    await machine.configure({ postgresql: { user: 'postgres' } });
  });

  test('goes together with install, which writes no other unit, and start', async () => {
    const installed = await machine.ok('steep-repl tls init && steep-repl install');
    expect(installed).not.toContain('/etc/systemd/system/steep-repl.service');
    expect(installed).not.toContain('useradd');
    await machine.ok('! test -e /etc/systemd/system/steep-repl.service');
    expect(await machine.ok('systemctl is-enabled steep-repl')).toBe('enabled');
    expect(await machine.ok('stat -c "%a %U" /etc/steep/certs/node.key')).toBe('600 steep-repl');
    expect(await machine.ok('steep-repl start')).toMatch(/is ready after \d+ ms/);
    expect(await machine.ok('ps -o user= -p $(systemctl show steep-repl -P MainPID)')).toBe('steep-repl');
    expect((await machine.run('steep-repl status')).stdout).toMatch(
      /State +running, .* \(systemd, enabled\)/,
    );
  });

  test('lets install write a unit of its own for a configuration that needs one, and take it away again', async () => {
    await machine.configure({ postgresql: { user: 'postgres' }, ipc: { enabled: false } });
    await machine.ok('steep-repl install');
    expect(await machine.ok('cat /etc/systemd/system/steep-repl.service')).toContain('ExecReload=/bin/kill');
    await machine.configure({ postgresql: { user: 'postgres' } });
    const done = await machine.ok('steep-repl uninstall --yes');
    expect(done).toContain('kept: /usr/lib/systemd/system/steep-repl.service');
    await machine.ok('getent passwd steep-repl && ! test -e /etc/systemd/system/steep-repl.service');
    expect(await machine.ok('systemctl is-enabled steep-repl || true')).toBe('disabled');
    await machine.ok('steep-repl install && steep-repl start');
  });

  test('puts the new version in the place of the running one', async () => {
    const before = await machine.show('MainPID');
    await install(path.join(folder, buildDeb({ ...options, version: '0.0.8' })));
    expect(await machine.ok("dpkg-query -W -f '${Version}' steep-repl")).toBe('0.0.8');
    expect(await machine.show('ActiveState')).toBe('active');
    const pid = await machine.show('MainPID');
    expect(pid).not.toBe(before);
    expect(await machine.ok(`readlink /proc/${pid}/exe`)).toBe('/usr/bin/steep-repl');
    expect(await machine.ok('systemctl is-enabled steep-repl')).toBe('enabled');
  });

  test('goes with the daemon stopped, and leaves configuration and state', async () => {
    await machine.ok('dpkg --remove steep-repl');
    expect(await machine.ok('pgrep -x steep-repl || true')).toBe('');
    expect(await machine.show('LoadState')).toBe('not-found');
    await machine.ok('test -e /etc/steep/config.yaml && test -e /var/lib/steep-repl/node-a/cluster.json');
  });

  test('leaves the configuration alone when it is purged, and nothing else', async () => {
    await machine.ok('dpkg --purge steep-repl');
    expect(await machine.ok('getent passwd steep-repl; getent group steep-repl; true')).toBe('');
    expect(await machine.ok('stat -c "%U:%G" /etc/steep/config.yaml /etc/steep/certs/node.key')).toBe(
      'root:root\nroot:root',
    );
    const left = await machine.ok(
      'find /etc /var/lib /run /tmp /usr/bin /usr/lib/systemd /usr/share/doc -xdev -path /var/lib/apt -prune -o "(" -name "*steep*" -o -nouser -o -nogroup ")" -print | sort',
    );
    expect(left).toBe('/etc/steep');
  });

  test('leaves a service alone that somebody installed from elsewhere, with its user', async () => {
    const executable = Bun.file(options.executable);
    const put = 'cat >/usr/local/bin/steep-repl && chmod 755 /usr/local/bin/steep-repl';
    expect((await machine.run(put, executable)).code).toBe(0);
    await machine.ok('/usr/local/bin/steep-repl install && /usr/local/bin/steep-repl start');
    await install(older);
    await machine.ok('dpkg --purge steep-repl');
    expect(await machine.show('ActiveState')).toBe('active');
    expect(await machine.ok('ps -o user= -p $(systemctl show steep-repl -P MainPID)')).toBe('steep-repl');
    await machine.ok('test -e /var/lib/steep-repl/node-a/cluster.json');
  });

  test('is the same when it is built again', () => {
    const before = readFileSync(older);
    buildDeb({ ...options, version: '0.0.8-rc.1' });
    expect(readFileSync(older).equals(before)).toBe(true);
  });
});

describe('the .rpm', () => {
  let rpm = '';
  beforeAll(() => {
    rpm = path.join(folder, buildRpm({ ...options, version: '0.0.8-rc.1' }));
  });

  test('has the same files as the .deb, all of root, none open to others', () => {
    const listed = ask('rpm', '-qp', '--qf', '[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]', rpm);
    const files = listed.trim().split('\n');
    for (const file of files) expect(file).toMatch(/^[-d]rw.r-.r-. root \//);
    const names = files.filter((file) => file.startsWith('-')).map((file) => file.split(' ')[2] ?? '');
    const deb = ask('sh', '-c', `dpkg-deb --fsys-tarfile ${folder}/*_0.0.8_amd64.deb | tar -t`).split('\n');
    expect(names.toSorted()).toEqual(
      deb.flatMap((file) => (/[^/]$/.test(file) ? [file.slice(1)] : [])).toSorted(),
    );
  });

  test('needs nothing but a C library and the tool that makes users', () => {
    const needs = new Set(ask('rpm', '-qp', '--requires', rpm).trim().split('\n'));
    expect([...needs].filter((one) => !one.startsWith('rpmlib('))).toEqual([
      '/bin/sh',
      '/usr/sbin/useradd',
      'glibc',
    ]);
    expect(ask('rpm', '-qp', '--qf', '%{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}', rpm)).toBe(
      '0.0.8~rc.1-1 x86_64 MIT',
    );
  });

  test('has scripts that the shell takes', () => {
    const tags = ['POSTIN', 'PREUN', 'POSTUN'];
    for (const tag of tags) ask('sh', '-n', '-c', ask('rpm', '-qp', '--qf', `%{${tag}}`, rpm));
    expect(ask('rpm', '-qp', '--qf', '%{POSTIN}', rpm)).toContain('useradd --system');
  });

  test('unpacks below another root to what runs', () => {
    const root = path.join(folder, 'root');
    ask('rpm', '--root', root, '--initdb');
    ask('rpm', '--root', root, '-i', '--nodeps', '--noscripts', rpm);
    const executable = path.join(root, 'usr/bin/steep-repl');
    expect(ask(executable, 'version')).toMatch(/^steep-repl /);
    expect(statSync(executable).mode & 0o7777).toBe(0o755);
    expect(ask('rpm', '--root', root, '-V', 'steep-repl', '--nodeps')).toBe('');
    ask('rpm', '--root', root, '-e', '--noscripts', 'steep-repl');
    expect(() => statSync(executable)).toThrow();
  });

  test('is the same when it is built again', () => {
    const before = readFileSync(rpm);
    buildRpm({ ...options, version: '0.0.8-rc.1' });
    expect(readFileSync(rpm).equals(before)).toBe(true);
  });
});
