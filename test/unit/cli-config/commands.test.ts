/** The commands as a user types them: real processes, their output and exit codes. */
import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

const main = path.join(import.meta.dir, '../../../src/main.ts');
const root = mkdtempSync(path.join(realpathSync(tmpdir()), 'steep-cli-config-'));
const folder = path.join(root, 'own');
const file = path.join(folder, 'config.yaml');
const isWindows = process.platform === 'win32';

beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs `steep-repl config …` with HOME in the test's folder and the given variables, nothing else but PATH. */
function config(words: string[], env: Record<string, string> = {}): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'config', ...words], {
    env: { PATH: process.env['PATH'], HOME: root, ...env },
    cwd: root,
    encoding: 'utf8',
  });
  return { code: status, out: stdout.replaceAll(root, ''), err: stderr.replaceAll(root, '') };
}

function put(...lines: string[]): void {
  writeFileSync(file, ['repl:', ...lines.map((line) => `  ${line}`), ''].join('\n'), { mode: 0o600 });
}

describe('config init', () => {
  test('writes a file that loads, private, with the id from the command line', () => {
    rmSync(folder, { recursive: true });
    const { code, out, err } = config(['init', '--config', file, '--node-id', 'node-a']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toStartWith('wrote /own/config.yaml for node node-a\n');
    if (!isWindows) {
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(statSync(folder).mode & 0o777).toBe(0o700);
    }
    expect(readdirSync(folder)).toEqual(['config.yaml']);
    expect(config(['show', '--config', file]).code).toBe(0);
  });

  test('--path is another name for --config, and the id comes from the host name', () => {
    expect(config(['init', '--help']).out).toMatch(/ --path, --config/);
    const { code, out } = config(['init', '--path', 'own/config.yaml', '--json']);
    expect(code).toBe(0);
    const shown: unknown = JSON.parse(out);
    expect(shown).toEqual({
      file: '/own/config.yaml',
      node_id: expect.stringMatching(/^[A-Za-z0-9]/),
      backup: null,
    });
  });

  test('replaces nothing without --force, and keeps what it replaces', () => {
    put('node_id: precious');
    const before = readFileSync(file, 'utf8');
    const refused = config(['init'], { STEEP_REPL_CONFIG: file });
    expect(refused.code).toBe(1);
    expect(refused.err).toStartWith(
      'steep-repl: /own/config.yaml exists already\n  hint: edit it, or give --force',
    );
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect(config(['init', '--force'], { STEEP_REPL_CONFIG: file }).code).toBe(0);
    expect(readFileSync(`${file}.bak`, 'utf8')).toBe(before);
  });

  test('an id that is none is refused before anything is written', () => {
    const { code, err } = config(['init', '--config', file, '--node-id', 'a b']);
    expect(code).toBe(2);
    expect(err).toContain('--node-id: "a b" is no node id');
    expect(existsSync(file)).toBe(false);
  });

  test.skipIf(isWindows)(
    'a folder that others may write is refused, since the file would not be read',
    () => {
      chmodSync(folder, 0o777);
      const { code, err } = config(['init', '--config', file]);
      expect(code).toBe(5);
      expect(err).toContain('hint: chmod go-w /own');
      expect(readdirSync(folder)).toEqual([]);

      const further = config(['init', '--config', 'own/private/config.yaml']);
      expect(further.code).toBe(5);
      expect(further.err).toContain('hint: choose another place with --config, or:  chmod go-w /own\n');
      expect(readdirSync(path.join(folder, 'private'))).toEqual([]);
    },
  );

  test('a path through a file is an error, not a stack trace', () => {
    writeFileSync(path.join(folder, 'x'), '');
    const { code, err } = config(['init', '--config', 'own/x/config.yaml']);
    expect(code).toBe(1);
    expect(err).toStartWith('steep-repl: ');
    expect(err).not.toContain('at ');
  });
});

describe('config path', () => {
  test('tells the order and what is used', () => {
    put('node_id: a');
    const { code, out } = config(['path', '--json'], { STEEP_REPL_CONFIG: file });
    expect(code).toBe(0);
    const shown = JSON.parse(out) as { file: string; places: { from: string; used: boolean }[] };
    expect(shown.file).toBe('/own/config.yaml');
    expect(shown.places.map(({ from, used }) => [from, used])).toEqual([
      ['--config', false],
      ['STEEP_REPL_CONFIG', true],
      ['user', false],
      ['system', false],
    ]);
  });

  test('exits 2 when a file named outright is not there', () => {
    const { code, out } = config(['path', '--config', 'none.yaml']);
    expect(code).toBe(2);
    expect(out).toContain('--config           /none.yaml');
    expect(out).toContain('used, but not there');
  });
});

describe('config show', () => {
  test('shows each value as the file would have it, and where it came from', () => {
    put(
      'node_id: node-a',
      'heartbeat: {degraded_after: 3s}',
      'ipc: {mode: 0660}',
      'cluster: {join: [a:1, b:2]}',
    );
    const { code, out } = config(['show', '--config', file], { PGHOST: 'db', STEEP_REPL_PRIORITY: '7' });
    expect(code).toBe(0);
    const rows = new Map(
      out.split('\n').map((line) => [line.split(/\s+/)[0], line.split(/\s{2,}/).slice(1)]),
    );
    expect(rows.get('node_id')).toEqual(['node-a', '/own/config.yaml:2']);
    expect(rows.get('heartbeat.degraded_after')).toEqual(['3s', '/own/config.yaml:3']);
    expect(rows.get('heartbeat.interval')).toEqual(['1s', 'default']);
    expect(rows.get('ipc.mode')).toEqual(['0660', '/own/config.yaml:4']);
    expect(rows.get('cluster.join')).toEqual(['a:1 b:2', '/own/config.yaml:5']);
    expect(rows.get('postgresql.host')).toEqual(['db', 'PGHOST']);
    expect(rows.get('priority')).toEqual(['7', 'STEEP_REPL_PRIORITY']);
    expect(rows.get('cluster.allow')).toEqual(['-', 'default']);
    expect(out).not.toContain('etcd.');
  });

  test('no secret is shown, in neither form', () => {
    put('node_id: node-a', 'postgresql: {password_command: "get --token hunter2"}');
    for (const form of [[], ['--json']]) {
      const { code, out, err } = config(['show', '--config', file, ...form], { PGPASSWORD: 'hunter2' });
      expect(code).toBe(0);
      expect(out).toContain('***');
      expect(out).toContain('get');
      expect(out + err).not.toContain('hunter2');
    }
  });

  test('as JSON', () => {
    put('node_id: node-a');
    const shown = JSON.parse(config(['show', '--config', file, '--json'], { PGPORT: '6000' }).out) as {
      values: { key: string }[];
    };
    expect(shown).toMatchObject({ file: '/own/config.yaml' });
    expect(
      shown.values.filter(({ key }) =>
        ['node_id', 'postgresql.port', 'log.level', 'cluster.allow'].includes(key),
      ),
    ).toEqual([
      { key: 'node_id', value: 'node-a', source: 'file', file: '/own/config.yaml', line: 2, column: 3 },
      { key: 'postgresql.port', value: 6000, source: 'variable', variable: 'PGPORT' },
      { key: 'cluster.allow', value: null, source: 'default' },
      { key: 'log.level', value: 'info', source: 'default' },
    ] as never);
  });

  test('a broken file exits 2 with its problems on stderr and nothing on stdout', () => {
    put('node_id: node-a', 'priority: 500', 'rolle: node');
    expect(config(['show', '--config', file, '--json'])).toEqual({
      code: 2,
      out: '',
      err: [
        'steep-repl: the configuration has 2 problems',
        '  /own/config.yaml:3:3: priority: 500 is not a whole number from 1 to 100',
        '  /own/config.yaml:4:3: rolle: unknown key; did you mean role?',
        '',
      ].join('\n'),
    });
  });
});

describe('config check', () => {
  interface Checked {
    valid: boolean;
    problems: unknown[];
    checks: { name: string; status: string; message: string; hint: string | null }[];
  }

  function check(env: Record<string, string> = {}): Outcome & Checked {
    const outcome = config(['check', '--config', file, '--json'], env);
    return { ...outcome, ...(JSON.parse(outcome.out) as Checked) };
  }

  /** A node that needs no network. */
  const quiet = ['node_id: a', 'state_dir: state', 'grpc: {enabled: false}'];

  test('all well for a witness: exit 0, and nothing was made', () => {
    put(...quiet, 'role: witness');
    const { code, checks } = check();
    expect(checks.filter(({ name }) => name === 'state_dir')).toEqual([
      { name: 'state_dir', status: 'ok', message: '/own/state will be made at the first start', hint: null },
    ]);
    expect(checks.every(({ status }) => status === 'ok')).toBe(true);
    expect(code).toBe(0);
    expect(readdirSync(folder)).toEqual(['config.yaml']);
  });

  test('an invalid file is data too: exit 2', () => {
    put('node_id: a', 'rolle: node');
    const { code, valid, problems } = check();
    expect({ code, valid }).toEqual({ code: 2, valid: false });
    expect(problems).toEqual([
      {
        file: '/own/config.yaml',
        line: 3,
        column: 3,
        variable: null,
        key: 'rolle',
        message: 'unknown key',
        hint: 'did you mean role?',
      },
    ]);
  });

  test('missing certificates are a warning that names the command to run', () => {
    put('node_id: a', 'state_dir: state', 'grpc: {bind: 127.0.0.1, port: 1}');
    expect(check().checks.filter(({ name }) => name === 'certificates')).toEqual([
      {
        name: 'certificates',
        status: 'warn',
        message: 'not there: /own/certs/node.crt, /own/certs/node.key, /own/certs/ca.crt',
        hint: 'steep-repl tls init',
      },
    ]);
  });

  test.skipIf(isWindows)('a key that others may read fails, a client key is warned about', () => {
    put(
      'node_id: a',
      'grpc: {tls: {key_file: k, cert_file: c, ca_file: c}}',
      'postgresql: {sslkey: k, sslcert: c}',
    );
    for (const name of ['k', 'c']) writeFileSync(path.join(folder, name), 'x', { mode: 0o644 });
    const { code, checks } = check();
    expect(code).toBe(1);
    expect(checks).toContainEqual({
      name: 'certificates',
      status: 'fail',
      message: '/own/k: others may read this key (its mode is 0644)',
      hint: 'chmod 600 /own/k',
    });
    expect(checks.find(({ name, status }) => name === 'postgresql files' && status === 'warn')?.hint).toBe(
      'chmod 600 /own/k',
    );
  });

  test.skipIf(isWindows)('a CA that others may replace fails', () => {
    put('node_id: a', 'grpc: {tls: {key_file: k, cert_file: c, ca_file: ca}}');
    for (const name of ['k', 'c', 'ca']) writeFileSync(path.join(folder, name), 'x', { mode: 0o600 });
    const told = (): unknown => check().checks.find(({ message }) => message.includes('others may write it'));
    expect(told()).toBeUndefined();
    chmodSync(path.join(folder, 'ca'), 0o664);
    expect(told()).toEqual({
      name: 'certificates',
      status: 'fail',
      message: '/own/ca: others may write it (its mode is 0664), and with a CA of theirs come in as any node',
      hint: 'chmod go-w /own/ca',
    });
    chmodSync(path.join(folder, 'ca'), 0o600);
    mkdirSync(path.join(folder, 'open'));
    chmodSync(path.join(folder, 'open'), 0o777);
    writeFileSync(path.join(folder, 'open/ca'), 'x', { mode: 0o600 });
    put('node_id: a', 'grpc: {tls: {key_file: k, cert_file: c, ca_file: open/ca}}');
    expect(told()).toMatchObject({
      status: 'fail',
      message: expect.stringContaining('/own/open: others may write it (its mode is 0777)'),
    });
  });

  test.skipIf(process.getuid?.() !== 0)('a key of another user: chown mends that, chmod would not', () => {
    put(
      'node_id: a',
      'grpc: {tls: {key_file: k, cert_file: c, ca_file: c}}',
      'postgresql: {sslkey: k, sslcert: c}',
    );
    for (const name of ['k', 'c']) writeFileSync(path.join(folder, name), 'x', { mode: 0o600 });
    chownSync(path.join(folder, 'k'), 12345, 12345);
    const { checks } = check();
    for (const name of ['certificates', 'postgresql files'])
      expect(checks).toContainEqual({
        name,
        status: name === 'certificates' ? 'fail' : 'warn',
        message: '/own/k: others may read this key (it belongs to user id 12345)',
        hint: 'chown root /own/k',
      });
  });

  test('a port in use fails, with its holder where that can be known', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen({ host: '127.0.0.1', port: 0 }, () =>
        resolve((server.address() as { port: number }).port),
      );
    });
    put(...quiet, `http: {enabled: true, bind: 127.0.0.1, port: ${port}}`);
    const { code, checks } = check();
    server.close();
    expect(code).toBe(1);
    const found = checks.find(({ name }) => name === 'ports');
    expect(found).toMatchObject({ status: 'fail', hint: 'stop it, or set http.port' });
    expect(found?.message).toStartWith(`http 127.0.0.1:${port} is held by `);
    if (process.platform === 'linux') expect(found?.message).toEndWith(`(pid ${process.pid})`);
  });

  test('an address that this machine does not have', () => {
    put(...quiet, 'http: {enabled: true, bind: 192.0.2.1}');
    expect(check().checks).toContainEqual({
      name: 'ports',
      status: 'fail',
      message: 'http 192.0.2.1:8080: this machine has no such address',
      hint: 'set http.bind',
    });
  });

  test('the program of password_command must be there and executable', () => {
    const program = path.join(folder, 'get-password');
    put(...quiet, 'postgresql: {password_command: "./get-password hunter2"}');
    const result = (): unknown => check().checks.find(({ name }) => name === 'password_command');
    const failed = {
      name: 'password_command',
      status: 'fail',
      message: '/own/get-password is not there or not executable',
      hint: 'give its full path, and make it executable for the user of the daemon',
    };
    expect(result()).toEqual(failed);
    writeFileSync(program, '#!/bin/sh\necho secret\n', { mode: 0o600 });
    if (!isWindows) expect(result()).toEqual(failed);
    chmodSync(program, 0o700);
    expect(result()).toMatchObject({ status: 'ok', message: '/own/get-password' });
  });

  test('a state_dir that is a file, or below one, fails', () => {
    put('node_id: a', 'grpc: {enabled: false}', 'state_dir: state');
    writeFileSync(path.join(folder, 'state'), '');
    expect(check().checks).toContainEqual({
      name: 'state_dir',
      status: 'fail',
      message: '/own/state is no folder',
      hint: 'set state_dir',
    });
    put('node_id: a', 'grpc: {enabled: false}', 'state_dir: state/below');
    expect(check().checks.find(({ name }) => name === 'state_dir')?.status).toBe('fail');
  });

  test('enabled: false is pointed out', () => {
    put(...quiet, 'enabled: false');
    expect(config(['check', '--config', file]).out).toStartWith(
      'warn  file              /own/config.yaml: enabled is false\n',
    );
  });
});

test('config schema is JSON Schema that allows other programs their keys', () => {
  const { code, out } = config(['schema']);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    required: ['repl'],
    properties: { repl: { type: 'object', required: ['node_id'], additionalProperties: false } },
  });
});
