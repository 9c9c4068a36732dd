import { describe, expect, test } from 'bun:test';
import type { ServiceOptions, ServiceScope } from '../../../src/platform/service.ts';
import { systemdHost } from '../../../src/platform/systemd-host.ts';
import { stateFrom } from '../../../src/platform/systemd-state.ts';
import { unitText } from '../../../src/platform/systemd-unit.ts';

const options: ServiceOptions = {
  executable: '/usr/local/bin/steep-repl',
  config: '/etc/steep/config.yaml',
  runAs: undefined,
  stateDir: '/var/lib/steep-repl/node-a',
  answers: true,
  keyFile: '/etc/steep/certs/node.key',
  reads: ['/etc/steep/certs/node.crt'],
  writes: [],
};

/** The values of a key, by the lines that set it. */
function unit(changes: Partial<ServiceOptions> = {}, scope: ServiceScope = 'system') {
  const lines = unitText({ ...options, ...changes }, scope, 'steep-repl').split('\n');
  return (key: string): string[] =>
    lines.filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));
}

describe('the unit of the machine', () => {
  test('is restarted after every failure but that of a wrong configuration', () => {
    const value = unit();
    expect(value('Type')).toEqual(['notify']);
    expect(value('Restart')).toEqual(['on-failure']);
    expect(value('StartLimitIntervalSec')).toEqual(['0']);
    expect(value('RestartPreventExitStatus')).toEqual(['2']);
    expect(value('WantedBy')).toEqual(['multi-user.target']);
  });

  test('comes after the network and PostgreSQL, and goes before them, whichever package PostgreSQL is of', () => {
    expect(unit()('After')).toEqual(['network.target postgresql.service postgresql-18.service']);
    for (const key of ['Requires', 'Wants', 'BindsTo']) expect(unit()(key)).toEqual([]); // it may be elsewhere
  });

  test('quotes what systemd would take apart', () => {
    const value = unit({ executable: '/opt/my dir/steep-repl', config: '/etc/100%/"a"$HOME.yaml' });
    expect(value('ExecStart')).toEqual([
      String.raw`"/opt/my dir/steep-repl" run --config "/etc/100%%/\"a\"$$HOME.yaml"`,
    ]);
  });

  test('is reloaded by a signal when nobody answers over IPC', () => {
    expect(unit()('ExecReload')).toEqual([
      '/usr/local/bin/steep-repl reload --config /etc/steep/config.yaml',
    ]);
    expect(unit({ answers: false })('ExecReload')).toEqual(['/bin/kill -HUP $MAINPID']);
  });

  test('may write its state, its runtime folder and /tmp, where others look for its socket', () => {
    expect(unit()('StateDirectory')).toEqual(['steep-repl']);
    expect(unit()('ReadWritePaths')).toEqual(['-/tmp']);
    expect(unit()('PrivateTmp')).toEqual([]);
    const elsewhere = unit({ stateDir: '/data/steep', writes: ['/srv/my sockets'] });
    expect(elsewhere('StateDirectory')).toEqual([]);
    expect(elsewhere('ReadWritePaths')).toEqual(['-/tmp "-/srv/my sockets" -/data/steep']);
  });

  test('sees homes only when something of it lies there', () => {
    expect(unit()('ProtectHome')).toEqual(['yes']);
    expect(unit({ executable: '/home/ann/steep-repl' })('ProtectHome')).toEqual(['read-only']);
    expect(unit({ reads: ['/root/ca.crt'] })('ProtectHome')).toEqual(['read-only']);
    expect(unit({ stateDir: '/home/ann/state' })('ProtectHome')).toEqual(['no']);
  });
});

test('the unit of a user asks for nothing that needs rights', () => {
  const value = unit({}, 'user');
  for (const key of ['User', 'StateDirectory', 'RuntimeDirectory', 'ProtectSystem', 'PrivateDevices'])
    expect(value(key)).toEqual([]);
  expect(value('NoNewPrivileges')).toEqual(['yes']);
  expect(value('WantedBy')).toEqual(['default.target']);
});

describe('the state of a unit', () => {
  const running = {
    UnitFileState: 'enabled',
    ActiveState: 'active',
    SubState: 'running',
    Result: 'success',
    MainPID: '42',
    ExecMainStatus: '0',
    NRestarts: '0',
    StateChangeTimestamp: 'Mon 2026-11-23 20:57:31 UTC',
    User: 'steep-repl',
  };

  test('of one that runs has pid and time', () => {
    expect(stateFrom(running)).toEqual({
      installed: true,
      enabled: true,
      activity: 'active',
      pid: 42,
      since: new Date('2026-11-23T20:57:31Z'),
      detail: undefined,
      user: 'steep-repl',
    });
    expect(stateFrom({ ...running, UnitFileState: 'disabled' }).enabled).toBe(false);
  });

  test.each([
    [{ Result: 'exit-code', ExecMainStatus: '2' }, 'ended with exit code 2'],
    [{ Result: 'signal', ExecMainStatus: '9' }, 'killed by signal 9'],
    [{ Result: 'watchdog' }, 'killed because it hung'],
    [{ Result: 'oom-kill' }, 'oom-kill'],
  ])('of one that failed says why: %j', (shown, detail) => {
    const state = stateFrom({ ...running, ActiveState: 'failed', MainPID: '0', ...shown });
    expect(state).toMatchObject({ activity: 'failed', pid: undefined, detail });
  });

  test('of one that fails again and again says so', () => {
    const shown = { Result: 'exit-code', ExecMainStatus: '1', SubState: 'auto-restart', NRestarts: '7' };
    expect(stateFrom({ ...running, ActiveState: 'activating', MainPID: '0', ...shown })).toMatchObject({
      activity: 'starting',
      detail: 'ended with exit code 1, starts again in a moment, restarted 7 times',
    });
  });
});

describe('the daemon under systemd', () => {
  test('is fed by systemd’s variables, and absent without them', () => {
    expect(systemdHost({})).toBeUndefined();
    const env = { NOTIFY_SOCKET: '@nobody-listens-here' };
    expect(systemdHost(env)?.watchdogMs).toBeUndefined();
    expect(systemdHost({ ...env, WATCHDOG_USEC: '15000000' })?.watchdogMs).toBe(3750);
    const others = { WATCHDOG_USEC: '15000000', WATCHDOG_PID: '1' };
    expect(systemdHost({ ...env, ...others })?.watchdogMs).toBeUndefined();
  });

  test.skipIf(process.platform !== 'linux')('goes on when nobody takes what it says', () => {
    const host = systemdHost({ NOTIFY_SOCKET: '/nowhere/notify' });
    host?.ready();
    host?.status('text');
    host?.reloading();
    host?.stopping();
    expect(host?.ended(1)).toBe(1);
  });

  test.skipIf(process.platform !== 'linux' || Bun.which('socat') === null)(
    'speaks sd_notify, with the time of a reload as other processes read the clock',
    async () => {
      const address = `/tmp/notify-${process.pid}.sock`;
      const listener = Bun.spawn(['socat', '-u', `UNIX-RECV:${address},unlink-early`, 'STDOUT'], {
        stdout: 'pipe',
      });
      try {
        while (
          !(await Bun.file(address)
            .stat()
            .catch(() => null))
        )
          await Bun.sleep(10);
        const host = systemdHost({ NOTIFY_SOCKET: address });
        host?.reloading();
        host?.ready();
        host?.status('two\nlines');
        const reader = listener.stdout.getReader();
        let text = '';
        while (!text.includes('STATUS=')) text += new TextDecoder().decode((await reader.read()).value);
        const uptime = Number((await Bun.file('/proc/uptime').text()).split(' ')[0]);
        const microseconds = Number(/RELOADING=1\nMONOTONIC_USEC=(\d+)/.exec(text)?.[1]);
        expect(microseconds / 1e6).toBeGreaterThan(0);
        expect(microseconds / 1e6).toBeLessThanOrEqual(uptime + 1);
        expect(text).toContain('READY=1STATUS=two lines');
      } finally {
        listener.kill();
        await listener.exited;
      }
    },
  );
});
