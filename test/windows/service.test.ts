/** The life of the service, by Windows' service control manager: what an administrator does, and what may go wrong. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../support/ports.ts';
import { waitFor } from '../support/wait.ts';
import { inRepository, Windows } from '../support/windows.ts';

const HTTP_PORT = await freePort();
const WITNESS = {
  node_id: 'win-a',
  role: 'witness',
  grpc: { enabled: false },
  http: { enabled: true, bind: '127.0.0.1', port: HTTP_PORT },
};

let windows: Windows;
beforeAll(() => {
  windows = new Windows();
  windows.writeConfig(WITNESS);
});
afterAll(async () => await windows[Symbol.asyncDispose]());

/** What the SCM says of the service: `4  RUNNING`. */
async function scmState(): Promise<string> {
  const { stdout } = await windows.run(['sc.exe', 'query', 'steep-repl']);
  return /STATE\s+: \d+\s+(\w+)/.exec(stdout)?.[1] ?? stdout;
}

async function pid(): Promise<number> {
  return Number(/pid (\d+)/.exec((await windows.steep('status')).stdout)?.[1]);
}

/** Asks the SCM what no command asks: the value of an expression about `service`, opened with these rights. */
async function ask(access: number, expression: string): Promise<unknown> {
  const scm = inRepository('src/platform/windows-scm.ts').replaceAll('\\', '/');
  const { stdout, stderr } = await windows.bun(
    '-e',
    `import { Service } from '${scm}';
     const service = Service.open('steep-repl', ${access});
     console.log(JSON.stringify(${expression}));`,
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

describe('before it is installed', () => {
  test('the service process says that only the SCM starts it', async () => {
    expect(await windows.steep('service')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the service control manager did not start this process'),
    });
  });

  test('start and stop say that there is none', async () => {
    expect(await windows.steep('start')).toMatchObject({ code: 3 });
    expect(await windows.steep('stop')).toMatchObject({ code: 3 });
  });

  test('there is no service of a user', async () => {
    const { code, stderr } = await windows.steep('install', '--user');
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Windows has no services of a user'),
    });
  });

  test('--dry-run shows commands and does nothing', async () => {
    const { code, stdout, stderr } = await windows.steep('install', '--dry-run');
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout + stderr).toContain(
      String.raw`sc.exe create steep-repl binPath= "\"Z:\w\steep-repl.exe\" service --config \"C:\ProgramData\steep\config.yaml\"" start= auto obj= "NT SERVICE\steep-repl"`,
    );
    expect(stdout + stderr).toContain('sc.exe config steep-repl start= delayed-auto');
    expect(stdout + stderr).toContain(String.raw`icacls "C:\ProgramData\steep" /inheritance:r`);
    expect(await scmState()).not.toContain('STOPPED');
    expect(existsSync(path.join(windows.programData, 'state'))).toBe(false);
  });
});

describe('the account of the service', () => {
  test('may be another one', async () => {
    const { stdout, stderr } = await windows.steep('install', '--dry-run', '--run-as', 'LocalSystem');
    expect(stdout + stderr).toContain('obj= "LocalSystem"');
    expect(stdout + stderr).not.toContain('S-1-5-80-'); // the system may everything as it is
  });

  test('must be there', async () => {
    const { code, stderr } = await windows.steep('install', '--run-as', 'nobody-of-that-name');
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no user or group 'nobody-of-that-name'"),
    });
  });
});

describe('the service', () => {
  test('is installed, twice with the same result, to start with the machine, after the others', async () => {
    expect(await windows.steep('install')).toMatchObject({ code: 0 });
    const { steps } = JSON.parse((await windows.steep('install', '--json')).stdout) as {
      steps: { step: string; changed: boolean }[];
    };
    // wine keeps neither who owns a file nor what is to be done after a crash.
    const unseen = steps.filter(({ step }) => /^icacls |^sc\.exe failure /.test(step));
    const seen = steps.filter((each) => !unseen.includes(each));
    expect([unseen.length > 0, seen.length > 5]).toEqual([true, true]);
    expect(seen.filter(({ changed }) => changed)).toEqual([]);
    expect(await scmState()).toBe('STOPPED');
    expect(await ask(1, 'service.config()')).toEqual({
      startType: 2,
      commandLine: String.raw`"Z:\w\steep-repl.exe" service --config "C:\ProgramData\steep\config.yaml"`,
      account: String.raw`NT SERVICE\steep-repl`,
    });
    expect(await ask(1, '[3, 7].map((level) => service.setting(level)?.readUInt32LE())')).toEqual([
      1, 15_000,
    ]);
  });

  test('is running, for the SCM too, when start returns, and answers the CLI and HTTP', async () => {
    const started = await windows.steep('start');
    expect({ code: started.code, stderr: started.stderr }).toMatchObject({ code: 0 });
    expect(await scmState()).toBe('RUNNING');
    expect((await windows.steep('status')).stdout).toContain('steep-repl 0.1.0 on win-a (witness)');
    expect((await fetch(`http://127.0.0.1:${HTTP_PORT}/live`)).status).toBe(200);
  });

  test('answers when it is interrogated, and reads its configuration again on a change of parameters', async () => {
    expect(await ask(0x80, 'service.control(4)')).toBe(0);
    expect(await ask(0x40, 'service.control(6)')).toBe(0);
    await waitFor(
      () => windows.eventLog.some((line) => line.startsWith('daemon: configuration reloaded')),
      'reload',
    );
  });

  test('has its log in the Event Log', () => {
    expect(windows.eventLog).toContainEqual(
      expect.stringMatching(/^daemon: ready {2}version=0\.1\.0 node_id=win-a /),
    );
    expect(windows.eventLog).toContain(String.raw`ipc: listening  address=\\.\pipe\steep-repl`);
  });

  test('that crashed is told from one that was stopped, and starts again', async () => {
    await windows.run(['taskkill.exe', '/F', '/PID', String(await pid())]);
    await waitFor(async () => (await scmState()) === 'STOPPED', 'the end');
    const status = await windows.steep('status');
    expect(status).toMatchObject({ code: 3, stderr: expect.stringContaining('(Windows error 1067)') });
    expect(await windows.steep('start')).toMatchObject({ code: 0 });
  });

  test('is stopped, for the SCM too, when stop returns, and stopping twice is no failure', async () => {
    expect(await windows.steep('stop')).toMatchObject({ code: 0 });
    expect(await scmState()).toBe('STOPPED');
    expect(windows.eventLog.at(-1)).toBe('daemon: stopped');
    expect(await windows.steep('stop')).toMatchObject({ code: 0 });
  });

  test('that cannot use its configuration says why: to whoever starts it, and in the Event Log', async () => {
    windows.writeConfig({ ...WITNESS, priority: 700 });
    const { code, stderr } = await windows.steep('start');
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('exit code 2') });
    await waitFor(() => windows.eventLog.some((line) => line.includes('priority: 700 is not')), 'the reason');
  });

  test('that is switched off says so', async () => {
    windows.writeConfig({ ...WITNESS, enabled: false });
    expect(await windows.steep('start')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('enabled: false'),
    });
    expect(windows.eventLog.at(-1)).toStartWith('steep-repl is switched off: enabled is false in ');
    windows.writeConfig(WITNESS);
    expect(await windows.steep('restart')).toMatchObject({ code: 0 });
  });

  test('is removed while it runs, and leaves configuration and state', async () => {
    expect(await windows.steep('uninstall', '--yes')).toMatchObject({ code: 0 });
    expect(await windows.steep('uninstall', '--yes')).toMatchObject({ code: 3 });
    expect(existsSync(path.join(windows.programData, 'config.yaml'))).toBe(true);
    expect(existsSync(path.join(windows.programData, 'state/win-a'))).toBe(true);
    for (const key of ['steep-repl', String.raw`EventLog\Application\steep-repl`]) {
      const asked = ['reg.exe', 'query', String.raw`HKLM\SYSTEM\CurrentControlSet\Services` + `\\${key}`];
      expect([key, (await windows.run(asked)).code]).toEqual([key, 1]);
    }
  });
});
