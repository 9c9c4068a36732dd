/** The commands of the service, typed on a booted systemd machine. Each test goes on where the one before ended. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { expectScreen } from '../integration/cli/screen.ts';
import { faultOf } from '../support/shapes.ts';
import { SystemdMachine } from '../support/systemd-machine.ts';

let machine: SystemdMachine;
beforeAll(async () => {
  machine = await SystemdMachine.boot();
  await machine.configure({ postgresql: { user: 'postgres' } });
  await machine.ok('steep-repl tls init && useradd --create-home ann');
}, 120_000);
afterAll(async () => await machine[Symbol.asyncDispose]());

const asAnn = (command: string): string => `cd / && runuser -u ann -- ${command}`;

describe('before it is installed', () => {
  test('the service’s commands say so with exit code 3, and name the command that installs', async () => {
    for (const command of ['start', 'stop', 'restart', 'logs', 'uninstall --yes'])
      expect(await machine.run(`steep-repl ${command}`)).toMatchObject({
        code: 3,
        stdout: '',
        stderr: expect.stringMatching(/not installed\n {2}hint: steep-repl install/),
      });
    expect((await machine.run('steep-repl status')).code).toBe(3);
  });

  test('install --dry-run prints unit and commands, and does nothing', async () => {
    const printed = await machine.ok('steep-repl install --dry-run');
    expect(printed).toContain('useradd --system');
    expect(printed).toContain('write /etc/systemd/system/steep-repl.service (mode 0644)');
    expect(printed).toContain('    ExecStart=/usr/local/bin/steep-repl run --config /etc/steep/config.yaml');
    expect(printed).toContain('systemctl --no-ask-password enable steep-repl.service');
    await machine.ok('! getent passwd steep-repl && ! test -e /etc/systemd/system/steep-repl.service');
    expect(await machine.ok('stat -c "%a %U" /etc/steep/config.yaml')).toBe('600 root');
  });

  test('a user who is not root is refused with the command to run instead', async () => {
    const refused = await machine.run(asAnn('steep-repl install'));
    expect(refused).toMatchObject({ code: 5, stdout: '' });
    expect(refused.stderr).toContain('hint: sudo steep-repl install;');
  });

  test('an executable that the service’s user cannot run is refused, and no unit is written', async () => {
    await machine.putExecutable('/root/bin/steep-repl', '700');
    const refused = await machine.run('/root/bin/steep-repl install');
    expect(refused.code).toBe(5);
    expect(refused.stderr).toContain('hint: put it where everybody may read it:  install -m 755');
    await machine.ok('! test -e /etc/systemd/system/steep-repl.service');
  });

  test('a file that the service’s user cannot read is refused', async () => {
    await machine.ok('mv /etc/steep/certs /root/certs');
    await machine.configure({
      grpc: {
        tls: {
          cert_file: '/root/certs/node.crt',
          key_file: '/root/certs/node.key',
          ca_file: '/root/certs/ca.crt',
        },
      },
    });
    const refused = await machine.run('steep-repl install');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('not installed: certificates: ');
    await machine.ok('! test -e /etc/systemd/system/steep-repl.service && mv /root/certs /etc/steep/certs');
    await machine.configure({ postgresql: { user: 'postgres' } });
  });

  test('a configuration that cannot be used is refused with exit code 2', async () => {
    await machine.configure({ grpc: { port: 'none' } });
    expect(await machine.run('steep-repl install')).toMatchObject({ code: 2, stdout: '' });
    await machine.configure({ postgresql: { user: 'postgres' } });
  });
});

describe('install', () => {
  test('makes the user, gives it its files, writes and enables the unit; PostgreSQL may be away', async () => {
    const { code, stdout } = await machine.run('steep-repl install');
    expect(code).toBe(0);
    expect(stdout).toContain('warn  postgresql');
    expect(stdout).toContain('the service steep-repl (systemd, of the machine) is installed');
    expect(await machine.ok('systemctl is-enabled steep-repl')).toBe('enabled');
    expect(await machine.ok('stat -c "%a %U %G" /etc/steep/config.yaml')).toBe('640 root steep-repl');
    expect(await machine.ok('stat -c "%a %U" /etc/steep/certs/node.key')).toBe('600 steep-repl');
    expect(await machine.ok('stat -c "%a %U" /etc/steep/certs/ca.key')).toBe('600 root');
    expect(await machine.ok('getent passwd steep-repl')).toMatch(/:\/usr\/sbin\/nologin$/);
  });

  test('changes nothing when it is run again', async () => {
    const printed = await machine.ok('steep-repl install --json');
    expect(faultOf('install', printed)).toBeUndefined();
    const { steps } = JSON.parse(printed) as { steps: { step: string; changed: boolean }[] };
    expect(steps.length).toBeGreaterThan(3);
    expect(steps.filter(({ changed }) => changed)).toEqual([]);
  });

  test('leaves the service exposed to little: 2.0 at most', async () => {
    const lines = await machine.ok('systemd-analyze security --no-pager steep-repl');
    const exposure = Number(/Overall exposure level for steep-repl.service: ([\d.]+)/.exec(lines)?.[1]);
    console.log(`exposure of the unit: ${exposure}`);
    expect(exposure).toBeLessThanOrEqual(2);
  });
});

describe('start', () => {
  test('waits until the daemon is ready', async () => {
    expect(await machine.ok('steep-repl start')).toMatch(/is ready after \d+ ms, pid \d+$/);
    expect(await machine.show('ActiveState')).toBe('active');
    expect(await machine.show('StatusText')).toContain('PostgreSQL at localhost:5432/postgres');
    expect(await machine.ok('steep-repl start')).toContain('runs already, pid ');
    expect(faultOf('start', await machine.ok('steep-repl start --json'))).toBeUndefined();
  });

  test('status shows the service to root, and the socket in /tmp is there for other programs', async () => {
    const shown = await machine.run('steep-repl status');
    expect(shown.code).toBe(4); // PostgreSQL is away
    expectScreen('service', 'status', shown, {});
    const other = await machine.run('steep-repl status --json --socket /tmp/steep-repl.sock');
    expect(faultOf('status', other.stdout)).toBeUndefined();
    expect(JSON.parse(other.stdout)).toMatchObject({
      state: 'running',
      service: { manager: 'systemd', scope: 'system', installed: true, enabled: true, activity: 'active' },
    });
  });

  test('another user learns what the service manager says, and gets no further', async () => {
    const shown = await machine.run(asAnn('steep-repl status'));
    expect(shown.code).toBe(5);
    expect(shown.stderr).toMatch(/no right to connect .* the service steep-repl .* is active, pid \d+/);
    for (const command of ['stop', 'restart', 'uninstall --yes']) {
      const refused = await machine.run(asAnn(`steep-repl ${command}`));
      expect(refused.code).toBe(5);
      expect(refused.stderr).toContain(`hint: sudo steep-repl ${command.split(' ')[0]}`);
    }
    const logs = await machine.run(asAnn('steep-repl logs'));
    expect(logs).toMatchObject({ code: 5, stdout: '' });
  });

  test('a member of ipc.group sees the status', async () => {
    await machine.configure({ postgresql: { user: 'postgres' }, ipc: { group: 'steep-repl' } });
    await machine.ok('usermod --append --groups steep-repl ann');
    expect(faultOf('restart', await machine.ok('steep-repl restart --json'))).toBeUndefined();
    const shown = await machine.run(asAnn('steep-repl status'));
    expect(shown.code).toBe(4); // PostgreSQL is away
    expect(shown.stdout).toMatch(/State +running, .* \(systemd, enabled\)/);
    await machine.configure({ postgresql: { user: 'postgres' } });
    await machine.ok('gpasswd --delete ann steep-repl && steep-repl restart');
  });

  test('the daemon has an environment of its own, with a home and without what could change the runtime', async () => {
    await machine.ok('systemctl set-environment BUN_OPTIONS=--inspect BUN_BE_BUN=1 && steep-repl restart');
    const environ = await machine.ok("tr '\\0' '\\n' </proc/$(systemctl show steep-repl -P MainPID)/environ");
    expect(environ).toContain('HOME=/var/lib/steep-repl');
    expect(environ).toContain('DO_NOT_TRACK=1');
    expect(environ).not.toContain('BUN_');
    await machine.ok('systemctl unset-environment BUN_OPTIONS BUN_BE_BUN');
  });

  test('root sees the files with the eyes of the service’s user', async () => {
    const checked = await machine.run('steep-repl config check');
    expect(checked.stdout).toContain('ok    state_dir         /var/lib/steep-repl/node-a');
    expect(checked.stdout.match(/^fail +(?![ p])/gm)).toBeNull();
    expect((await machine.run('steep-repl doctor')).stdout).toMatch(/ok +service .* is active/);
  });

  test('a configuration or certificate made anew by root stays readable for the service', async () => {
    await machine.ok('steep-repl config init --force --node-id node-a && steep-repl tls init');
    expect(await machine.ok('stat -c "%a %U %G" /etc/steep/config.yaml')).toBe('640 root steep-repl');
    expect(await machine.ok('stat -c "%a %U" /etc/steep/certs/node.key')).toBe('600 steep-repl');
    await machine.configure({ postgresql: { user: 'postgres' } });
    await machine.ok('steep-repl restart');
  });
});

describe('reload', () => {
  test('keeps the process, by the command and by systemctl', async () => {
    const pid = await machine.show('MainPID');
    await machine.configure({ postgresql: { user: 'postgres' }, log: { level: 'debug' } });
    expect(await machine.ok('steep-repl reload')).toBe('in force now: log.level');
    await machine.configure({ postgresql: { user: 'postgres' } });
    await machine.ok('systemctl reload steep-repl');
    expect(await machine.ok('steep-repl reload')).toContain('nothing that can change now has changed');
    expect(await machine.show('MainPID')).toBe(pid);
    expect(await machine.show('ActiveState')).toBe('active');
  });

  test('refuses a broken file, by systemctl too, and the daemon goes on', async () => {
    await machine.configure({ nonsense: 1 });
    expect((await machine.run('systemctl reload steep-repl')).code).toBe(1);
    expect(await machine.ok('journalctl -u steep-repl -p err -o cat')).toContain('nonsense: unknown key');
    expect(await machine.show('ActiveState')).toBe('active');
    await machine.configure({ postgresql: { user: 'postgres' } });
  });

  test('reaches a daemon without IPC by its service', async () => {
    await machine.configure({ ipc: { enabled: false } });
    await machine.ok('steep-repl install && steep-repl restart');
    expect(await machine.ok('steep-repl reload')).toBe('the service was told to reload');
    await machine.waitFor('steep-repl logs -n 20 | grep "configuration reloaded"', 'the reload');
    await machine.configure({ postgresql: { user: 'postgres' } });
    await machine.ok('steep-repl install && steep-repl restart');
  });
});

describe('logs', () => {
  test('show what the journal has, with its levels', async () => {
    const printed = await machine.ok('steep-repl logs -n 200 --json');
    expect(faultOf('logs', printed)).toBeUndefined();
    const entries = JSON.parse(printed) as {
      time: string;
      level: string;
      text: string;
    }[];
    const levelOf = (part: string): string | undefined =>
      entries.find(({ text }) => text.includes(part))?.level;
    expect(levelOf('daemon: ready')).toBe('info');
    expect(levelOf('postgresql: PostgreSQL cannot be used')).toBe('warn');
    expect(levelOf('nonsense: unknown key')).toBe('error');
    expect(entries.map(({ time }) => time)).toEqual(entries.map(({ time }) => time).toSorted());
    expect((await machine.ok('steep-repl logs -n 3')).split('\n')).toHaveLength(3);
    expect(await machine.ok('steep-repl logs --since 2100-01-01')).toBe('');
  });

  test('need no rights of a member of systemd-journal', async () => {
    await machine.ok('usermod --append --groups systemd-journal ann');
    expect(await machine.ok(asAnn('steep-repl logs -n 200'))).toContain('daemon: ready');
    await machine.ok('gpasswd --delete ann systemd-journal');
  });

  test('follow what comes, and end with the reader', async () => {
    await machine.ok('systemd-run --quiet --unit=reader steep-repl logs -f -n 0');
    await machine.waitFor('pgrep -x journalctl', 'the reader');
    await machine.ok('steep-repl reload');
    await machine.waitFor('journalctl -u reader | grep "configuration reloaded"', 'the line');
    await machine.ok('kill $(systemctl show reader -P MainPID)');
    await machine.waitFor('! pgrep -x journalctl', 'the end of the reader');
    expect(await machine.show('Result', 'reader')).toBe('success');
  });
});

describe('stop', () => {
  test('waits for the end, and status tells that the service is stopped', async () => {
    const pid = await machine.show('MainPID');
    expect(await machine.ok('steep-repl stop')).toContain('is stopped');
    await machine.ok(`! test -e /proc/${pid} && ! test -e /run/steep-repl && ! test -e /tmp/steep-repl.sock`);
    const shown = await machine.run('steep-repl status');
    expectScreen('service-stopped', 'status', shown, {});
    expect(await machine.ok('steep-repl stop')).toContain('did not run');
    expect(faultOf('stop', await machine.ok('steep-repl stop --json'))).toBeUndefined();
  });

  test('a daemon in the foreground is told apart from the stopped service', async () => {
    await machine.ok(
      'mkdir -m 700 /root/state && systemd-run --quiet --unit=foreground -p Environment=STEEP_REPL_STATE_DIR=/root/state steep-repl run --config /etc/steep/config.yaml',
    );
    await machine.waitFor('steep-repl status | grep "not by the service, which is stopped"', 'the daemon');
    expectScreen('foreground', 'status', await machine.run('steep-repl status'), {});
    await machine.ok('systemctl stop foreground');
  });

  test('is not kept from the address of other programs by the daemon of another user before', async () => {
    await machine.ok('steep-repl start');
    const other = await machine.run('steep-repl status --json --socket /tmp/steep-repl.sock');
    expect(JSON.parse(other.stdout)).toMatchObject({ state: 'running', service: { activity: 'active' } });
    await machine.ok('steep-repl stop');
  });
});

describe('a door that cannot be opened', () => {
  test('makes start fail with the end of the log, and is tried until it can', async () => {
    await machine.ok(
      'systemd-run --quiet --unit=other -p Type=notify -p NotifyAccess=all -p Environment=BUN_BE_BUN=1 ' +
        `/usr/local/bin/steep-repl -e "require('node:net').createServer().listen(5433, '0.0.0.0', () => require('child_process').spawnSync('systemd-notify', ['--ready']))"`,
    );
    const refused = await machine.run('steep-repl start');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('cannot listen on 0.0.0.0:5433');
    expect(refused.stderr).toContain('the daemon did not become ready: ended with exit code 1');
    await machine.ok('systemctl stop other');
    await machine.waitFor('systemctl is-active --quiet steep-repl', 'the service');
    await machine.ok('steep-repl stop');
  });
});

describe('a configuration that cannot be used', () => {
  test('makes start fail with the reason, and is not tried again', async () => {
    await machine.configure({ nonsense: 1 });
    const refused = await machine.run('steep-repl start');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('nonsense: unknown key');
    expect(refused.stderr).toContain('the daemon did not become ready: ended with exit code 2');
    expect(await machine.show('ActiveState')).toBe('failed');
    expect(await machine.show('NRestarts')).toBe('0');
    expect(await machine.show('StatusText')).toContain('nonsense: unknown key');
    const shown = await machine.run('steep-repl status');
    expectScreen('service-failed', 'status', shown, {});
    expect(await machine.ok('journalctl -u steep-repl -p err -o cat')).toContain('nonsense: unknown key');
    await machine.configure({ postgresql: { user: 'postgres' } });
    await machine.ok('steep-repl install && steep-repl start');
  });
});

describe('a daemon that is switched off', () => {
  test('ends at once, which start tells, and is not tried again', async () => {
    await machine.configure({ enabled: false });
    const refused = await machine.run('steep-repl restart');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      'steep-repl is switched off: enabled is false in /etc/steep/config.yaml',
    );
    expect(await machine.show('ActiveState')).toBe('inactive');
    expect(await machine.show('NRestarts')).toBe('0');
    await machine.configure({ postgresql: { user: 'postgres' } });
  });
});

describe('install --run-as', () => {
  test('gives files and state to another user, whose socket root believes, and back again', async () => {
    await machine.ok('steep-repl install --run-as ann && steep-repl restart');
    expect(await machine.ok('ps -o user= -p $(systemctl show steep-repl -P MainPID)')).toBe('ann');
    expect(await machine.ok('stat -c "%a %U" /etc/steep/certs/node.key')).toBe('600 ann');
    expect((await machine.run('steep-repl status')).stdout).toMatch(
      /State +running, .* \(systemd, enabled\)/,
    );
    await machine.ok('steep-repl install && steep-repl restart');
    expect(await machine.ok('ps -o user= -p $(systemctl show steep-repl -P MainPID)')).toBe('steep-repl');
    expect(await machine.ok('stat -c %U /tmp/steep-repl.sock')).toBe('steep-repl');
  });

  test('refuses a user that is not there', async () => {
    const refused = await machine.run('steep-repl install --run-as nobody-at-all');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("there is no user 'nobody-at-all'");
  });
});

describe('a configuration and a state folder of one’s own choice', () => {
  test('serve the machine as the usual ones do', async () => {
    await machine.ok(`umask 077 && mkdir -p /srv/steep /data && cp /etc/steep/config.yaml /srv/steep/
      sed -i 's|{"repl":{|{"repl":{"state_dir":"/data/steep","grpc":{"enabled":false},|' /srv/steep/config.yaml`);
    await machine.ok(
      'chmod 755 /data && steep-repl install --config /srv/steep/config.yaml && steep-repl restart',
    );
    expect(await machine.ok('stat -c "%a %U" /data/steep')).toBe('700 steep-repl');
    const shown = JSON.parse((await machine.run('steep-repl status --json')).stdout) as { ipc: unknown };
    expect(shown.ipc).toMatchObject({ path: '/run/steep-repl/steep-repl.sock' });
    await machine.ok('test -e /data/steep/cluster.json');
  });

  test('are not mistaken because of the variables of whoever installs', async () => {
    await machine.ok(
      'PGHOST=elsewhere STEEP_REPL_STATE_DIR=/data/wrong steep-repl install && steep-repl restart',
    );
    await machine.ok('! test -e /data/wrong && test -e /var/lib/steep-repl/node-a/cluster.json');
    await machine.ok('rm -r /srv/steep /data/steep');
  });
});

describe('uninstall', () => {
  test('asks, and without a terminal to ask on refuses', async () => {
    const refused = await machine.run('steep-repl uninstall');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('/etc/steep and /var/lib/steep-repl stay');
    expect(await machine.show('ActiveState')).toBe('active');
  });

  test('ends the daemon, and leaves nothing but configuration, state and own settings, which are root’s again', async () => {
    await machine.ok(`mkdir /etc/systemd/system/steep-repl.service.d
      printf '[Service]\\nCPUWeight=50\\n' >/etc/systemd/system/steep-repl.service.d/own.conf`);
    const done = await machine.ok('steep-repl uninstall --yes');
    const kept = ['/etc/steep', '/var/lib/steep-repl', '/etc/systemd/system/steep-repl.service.d'];
    expect(done).toContain(kept.map((folder) => `kept: ${folder}`).join('\n'));
    expect(await machine.show('LoadState')).toBe('not-found');
    expect(await machine.ok('pgrep -x steep-repl || true')).toBe('');
    expect(await machine.ok('getent passwd steep-repl; getent group steep-repl; true')).toBe('');
    const left = await machine.ok(
      'find /etc /var/lib /run /tmp -xdev -path /var/lib/apt -prune -o "(" -name "*steep*" -o -nouser -o -nogroup ")" -print | sort',
    );
    expect(left.split('\n')).toEqual(kept.toSorted());
    expect((await machine.run('steep-repl uninstall --yes')).code).toBe(3);
  });
});
