/** launchd without a Mac: property lists by their structure, and the exact calls by stand-ins on PATH. */
import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { launchdHost } from '../../../src/platform/launchd-host.ts';
import { plistText } from '../../../src/platform/launchd-plist.ts';
import { launchdManager } from '../../../src/platform/launchd.ts';
import type { LogEntry, ServiceOptions, Step } from '../../../src/platform/service.ts';
import { lintPlist, parsePlist, type Plist } from '../../support/plist.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'launchd-'));
const tools = path.join(folder, 'tools');
const calls = path.join(folder, 'calls');
const library = path.join(folder, 'Library');
const home = path.join(folder, 'home');
const usualPath = process.env['PATH'];
afterAll(() => {
  process.env['PATH'] = usualPath;
  rmSync(folder, { recursive: true, force: true });
});

const options: ServiceOptions = {
  executable: '/usr/local/bin/steep-repl',
  config: path.join(library, 'Application Support/steep/config.yaml'),
  runAs: undefined,
  stateDir: path.join(library, 'Application Support/steep/state/node-a'),
  answers: true,
  keyFile: undefined,
  reads: [],
  writes: [],
};

type Dict = Record<string, Plist>;

/** Records its call; launchctl keeps what is taken in as a file, as launchd would in its memory. */
const STAND_IN = `#!/bin/sh
echo "$(basename "$0") $*" >>'${calls}'
loaded='${folder}/loaded'
case "$1" in bootstrap | bootout | kickstart | kill) if test -e '${folder}/refuse'; then
  echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5
fi ;; esac
case "$(basename "$0") $1" in
  'launchctl bootstrap') touch "$loaded" ;;
  'launchctl bootout') rm "$loaded"; exit 36 ;;
  'launchctl print') test -e "$loaded" || exit 113; cat '${folder}/printed' ;;
  'launchctl print-disabled') cat '${folder}/disabled' ;;
  'log show' | 'log stream') cat '${folder}/log' ;;
  'dscl .') if [ "$2" = -list ]; then printf 'root 0\\n_www 70\\nann 350\\n'; fi ;;
esac
exit 0
`;

beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(tools, { recursive: true });
  mkdirSync(path.join(library, 'Application Support/steep'), { recursive: true });
  writeFileSync(options.config, 'repl:\n', { mode: 0o644 });
  for (const tool of ['launchctl', 'dscl', 'log']) {
    writeFileSync(path.join(tools, tool), STAND_IN);
    chmodSync(path.join(tools, tool), 0o755);
  }
  process.env['PATH'] = `${tools}:${usualPath}`;
  printed('state = running', 'pid = 4711', 'last exit code = (never exited)');
  writeFileSync(path.join(folder, 'disabled'), 'disabled services = {\n}\n');
});

function printed(...fields: string[]): void {
  const inner = '\tendpoints = {\n\t\tstate = odd\n\t}\n';
  writeFileSync(
    path.join(folder, 'printed'),
    `system/io.steep.repl = {\n${fields.map((field) => `\t${field}\n`).join('')}${inner}}\n`,
  );
}

function recorded(): string[] {
  const lines = existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [];
  rmSync(calls, { force: true });
  return lines;
}

const system = (): ReturnType<typeof launchdManager> => launchdManager('system', {}, library);
const plistFile = path.join(library, 'LaunchDaemons/io.steep.repl.plist');

async function take(steps: readonly Step[]): Promise<string[]> {
  const done: string[] = [];
  for (const step of steps) {
    if (await step.isDone()) continue;
    await step.run();
    done.push(step.title);
  }
  return done;
}

describe('the property list', () => {
  test('of the machine’s daemon is what launchd knows', () => {
    const job = parsePlist(plistText(options, 'steep-repl', '/state'));
    expect(lintPlist(job)).toEqual([]);
    expect(job).toMatchObject({
      Label: 'io.steep.repl',
      ProgramArguments: ['/usr/local/bin/steep-repl', 'run', '--config', options.config],
      UserName: 'steep-repl',
      RunAtLoad: true,
      KeepAlive: { SuccessfulExit: false },
      EnvironmentVariables: { DO_NOT_TRACK: '1', STEEP_SERVICE_SCOPE: 'system' },
    });
  });

  test('of a user’s agent names no user, and paths survive XML', () => {
    const config = '/Users/ann & <bob>/config.yaml';
    const job = parsePlist(plistText({ ...options, config }, undefined, '/state')) as Dict;
    expect(lintPlist(job)).toEqual([]);
    expect(job['ProgramArguments']).toContain(config);
    expect(job).not.toHaveProperty('UserName');
  });

  test.each([
    [{ ProgramArguments: ['/a'] }, 'no Label'],
    [{ Label: 'a', ProgramArguments: ['a'] }, 'no absolute program'],
    [
      { Label: 'a', ProgramArguments: ['/a'], KeepAlive: { Sometimes: true } },
      'unknown key KeepAlive.Sometimes',
    ],
    [{ Label: 'a', ProgramArguments: ['/a'], RunAtLoad: 'yes' }, 'RunAtLoad: string'],
  ])('is found to be wrong: %j', (job, complaint) => {
    expect(lintPlist(job as Plist)).toContain(complaint);
  });

  test.each([
    '<plist>',
    plistText(options, 'x', '/state').replace('</dict>', ''),
    plistText(options, 'a & b', '/state').replace('&amp;', '&'),
  ])('is found to be malformed', (text) => {
    expect(() => parsePlist(text)).toThrow();
  });
});

describe('the machine’s service', () => {
  test('is written and enabled by install, and a second time changes nothing', async () => {
    const manager = system();
    const { after } = manager.installation(options);
    expect(await take(after)).toEqual([`write ${plistFile} (mode 0644)`]);
    expect(recorded()).toEqual(['launchctl print-disabled system']);
    expect(statSync(plistFile).mode & 0o777).toBe(0o644);
    expect(await take(manager.installation(options).after)).toEqual([]);
    writeFileSync(path.join(folder, 'disabled'), '\t"io.steep.repl" => disabled\n');
    recorded();
    await take(manager.installation(options).after);
    expect(recorded()).toEqual(['launchctl print-disabled system', 'launchctl enable system/io.steep.repl']);
  });

  test('gets a user with the first free id', async () => {
    const [makeUser] = system().installation(options).before;
    await makeUser?.run();
    expect(recorded()).toEqual([
      'dscl . -list /Users UniqueID',
      'dscl . -list /Groups PrimaryGroupID',
      'dscl . -create /Groups/steep-repl',
      'dscl . -create /Groups/steep-repl PrimaryGroupID 351',
      'dscl . -create /Users/steep-repl',
      'dscl . -create /Users/steep-repl UniqueID 351',
      'dscl . -create /Users/steep-repl PrimaryGroupID 351',
      'dscl . -create /Users/steep-repl RealName steep-repl service, made by steep-repl install',
      'dscl . -create /Users/steep-repl UserShell /usr/bin/false',
      'dscl . -create /Users/steep-repl NFSHomeDirectory /var/empty',
      'dscl . -create /Users/steep-repl IsHidden 1',
    ]);
  });

  test('is taken in by start, kicked when it is there already, and put out by stop', async () => {
    const manager = system();
    await take(manager.installation(options).after);
    expect((await manager.state()).activity).toBe('inactive');
    recorded();
    await manager.start();
    expect(recorded()).toEqual([
      'launchctl print system/io.steep.repl',
      `launchctl bootstrap system ${plistFile}`,
    ]);
    expect(await manager.state()).toMatchObject({
      activity: 'active',
      pid: 4711,
      enabled: true,
      user: 'steep-repl',
    });
    recorded();
    await manager.start();
    await manager.reload();
    expect(recorded()).toEqual([
      'launchctl print system/io.steep.repl',
      'launchctl kickstart system/io.steep.repl',
      'launchctl kill SIGHUP system/io.steep.repl',
    ]);
    await manager.restart();
    expect(recorded()).toEqual([
      'launchctl print system/io.steep.repl',
      'launchctl bootout system/io.steep.repl',
      'launchctl print system/io.steep.repl',
      'launchctl print system/io.steep.repl',
      `launchctl bootstrap system ${plistFile}`,
    ]);
  });

  test('is told apart by its state', async () => {
    const manager = system();
    await take(manager.installation(options).after);
    await manager.start();
    printed('state = not running', 'last exit code = 1');
    expect(await manager.state()).toMatchObject({
      activity: 'failed',
      pid: undefined,
      detail: 'ended with exit code 1',
    });
    printed('state = not running', 'last exit code = 0');
    expect((await manager.state()).activity).toBe('inactive');
    printed('state = spawn scheduled', 'last exit code = 1');
    expect((await manager.state()).activity).toBe('starting');
    writeFileSync(path.join(folder, 'disabled'), '\t"io.steep.repl" => disabled\n');
    expect((await manager.state()).enabled).toBe(false);
  });

  test('cannot be started when it is not installed', async () => {
    expect(await system().state()).toMatchObject({ installed: false, activity: 'inactive' });
    expect(recorded()).toEqual([]);
    for (const act of ['start', 'stop', 'restart', 'reload'] as const)
      await expect(system()[act]()).rejects.toMatchObject({ code: 'NOT_RUNNING' });
  });

  test('is told apart from one that may not be touched: whoever is not root hears that he lacks rights', async () => {
    const manager = system();
    await take(manager.installation(options).after);
    writeFileSync(path.join(folder, 'refuse'), '');
    const code = process.getuid?.() === 0 ? 'FAILED' : 'PERMISSION_DENIED';
    const refusal = { code, message: 'launchctl: Bootstrap failed: 5: Input/output error' };
    await expect(manager.start()).rejects.toMatchObject(refusal); // bootstrap
    writeFileSync(path.join(folder, 'loaded'), '');
    for (const act of ['start', 'stop', 'restart', 'reload'] as const)
      await expect(manager[act]()).rejects.toMatchObject(refusal);
  });

  test('writes what it says at its end into a folder that install made', async () => {
    const { StandardErrorPath: file } = parsePlist(plistText(options, 'steep-repl', '/state')) as Dict;
    expect(file).toBe('/state/stderr.log');
    const { before, after } = system().installation(options);
    const state = path.join(library, 'Application Support/steep/state');
    expect(before.map(({ title }) => title)).toContain(
      `mkdir -p '${state}' && chown -R steep-repl: '${state}'`,
    );
    const asRoot = system().installation({ ...options, runAs: 'root' }).before;
    expect(asRoot.map(({ title }) => title)).toEqual([`mkdir -p -m 0700 '${state}'`]);
    await take(after);
    expect((parsePlist(readFileSync(plistFile, 'utf8')) as Dict)['StandardErrorPath']).toBe(
      `${state}/stderr.log`,
    );
  });

  test('is removed with its property list, which goes last: without it nobody could say `uninstall` again', async () => {
    const manager = system();
    await take(manager.installation(options).after);
    await manager.start();
    const steps = manager.removal();
    expect(steps.map(({ title }) => title)).toEqual([
      'launchctl bootout system/io.steep.repl',
      'rm /tmp/steep-repl.sock.lock',
      `chown root: what belongs to steep-repl in ${path.join(library, 'Application Support/steep')}`,
      'dscl . -delete /Users/steep-repl',
      'dscl . -delete /Groups/steep-repl',
      `rm ${plistFile}`,
    ]);
    await steps.at(0)?.run();
    await steps.at(-1)?.run();
    expect(recorded()).toContain('launchctl bootout system/io.steep.repl');
    expect(existsSync(plistFile)).toBe(false);
    expect((await manager.state()).installed).toBe(false);
  });

  test('has its log in the system’s, under the name of the executable’s file', async () => {
    const line = (second: number, type: string, text: string): string =>
      JSON.stringify({
        timestamp: `2026-11-23 20:57:0${second}.123456+0100`,
        messageType: type,
        eventMessage: text,
      });
    writeFileSync(
      path.join(folder, 'log'),
      [
        'Filtering…',
        line(1, 'Default', 'one'),
        line(2, 'Error', 'two'),
        line(3, 'Debug', 'three'),
        '{"count":3}',
      ].join('\n'),
    );
    const entries: LogEntry[] = [];
    const since = new Date('2026-11-23T19:00:00Z');
    const manager = system();
    await take(manager.installation({ ...options, executable: '/opt/steep-repl-darwin-arm64' }).after);
    recorded();
    for await (const entry of manager.logs({ lines: 2, since, follow: false })) entries.push(entry);
    expect(entries).toEqual([
      { time: new Date('2026-11-23T19:57:02.123Z'), level: 'error', text: 'two' },
      { time: new Date('2026-11-23T19:57:03.123Z'), level: 'debug', text: 'three' },
    ]);
    expect(recorded()).toEqual([
      'log show --info --debug --start 2026-11-23 19:00:00+0000 --style ndjson --predicate process == "steep-repl-darwin-arm64" AND eventMessage != ""',
    ]);
  });
});

test('the agent of a user lies in the user’s own folder and domain', async () => {
  const manager = launchdManager('user', { HOME: home }, library);
  const state = path.join(home, 'Library/Application Support/steep/state');
  const { before, after } = manager.installation({ ...options, stateDir: path.join(state, 'node-a') });
  expect(await take(before)).toEqual([`mkdir -p -m 0700 '${state}'`]);
  expect(statSync(state).mode & 0o777).toBe(0o700);
  await take(after);
  expect(existsSync(path.join(home, 'Library/LaunchAgents/io.steep.repl.plist'))).toBe(true);
  recorded();
  await manager.start();
  const uid = process.getuid?.() ?? 0;
  expect(recorded()).toEqual([
    `launchctl print gui/${uid}/io.steep.repl`,
    `launchctl bootstrap gui/${uid} ${path.join(home, 'Library/LaunchAgents/io.steep.repl.plist')}`,
  ]);
});

describe('the daemon under launchd', () => {
  test('ends with success after a wrong configuration, so that it is not tried again, and fails otherwise', () => {
    const host = launchdHost({ STEEP_SERVICE_SCOPE: 'system' });
    expect([0, 1, 2].map((code) => host?.ended(code))).toEqual([0, 1, 0]);
    host?.log?.('100 %s of it goes to syslog, whose format it is not\n', 'info');
  });

  test('is not meant when a person runs it', () => {
    expect(launchdHost({})).toBeUndefined();
  });
});
