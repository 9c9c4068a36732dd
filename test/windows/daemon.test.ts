/** The daemon on Windows with all that it speaks to: PostgreSQL, a pipe, HTTP, and a node on Linux. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, existsSync } from 'node:fs';
import path from 'node:path';
import { DaemonHome, type TestDaemon } from '../support/daemon.ts';
import { freePort } from '../support/ports.ts';
import { waitFor } from '../support/wait.ts';
import { Windows } from '../support/windows.ts';
import { WindowsPostgres } from '../support/windows-postgres.ts';

let windows: Windows;
let server: WindowsPostgres;
const ports = { http: 0, grpc: 0, peer: 0 };

beforeAll(async () => {
  windows = new Windows();
  server = await WindowsPostgres.start(windows, await freePort());
  for (const name of ['http', 'grpc', 'peer'] as const) ports[name] = await freePort();
  windows.writeConfig({
    node_id: 'win-a',
    postgresql: server.config,
    grpc: { bind: '127.0.0.1', port: ports.grpc, advertise: `127.0.0.1:${ports.grpc}` },
    http: { enabled: true, bind: '127.0.0.1', port: ports.http },
  });
}, 300_000); // initdb under wine takes its time on a busy machine
afterAll(async () => await windows[Symbol.asyncDispose]());

async function succeeds(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await windows.steep(...args);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** Speaks with the pipe as any program would: lines of JSON, and nothing of ours. The answers by their ids. */
async function askPipe(requests: object[]): Promise<unknown[]> {
  const lines = requests.map((request) => `${JSON.stringify(request)}\n`).join('');
  const { stdout, stderr } = await windows.bun(
    '-e',
    `const socket = require('node:net').connect('//./pipe/steep-repl', () => socket.write(${JSON.stringify(lines)}));
     let text = '';
     socket.on('data', (chunk) => {
       text += chunk;
       if (text.split('\\n').length <= ${requests.length}) return;
       console.log(text.trim());
       process.exit();
     });
     setTimeout(() => process.exit(1), 20_000);`,
  );
  if (stdout === '') throw new Error(stderr);
  const answers = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string });
  return answers.sort((one, other) => one.id.localeCompare(other.id));
}

describe('a node on Windows', () => {
  test('gets certificates, the extension and a service', async () => {
    await succeeds('tls', 'init', '--host', '127.0.0.1');
    await succeeds('tls', 'issue', 'linux-b', '--host', '127.0.0.1');
    const { stderr } = await windows.steep('init-extension');
    expect(stderr).toContain('extension steep_repl in ');
    expect(existsSync(path.join(windows.folder, 'pg/share/extension/steep_repl.control'))).toBe(true);
    const checked = await windows.steep('config', 'check');
    expect({ code: checked.code, out: checked.stdout }).toMatchObject({ code: 0 });
    await succeeds('install');
    await succeeds('start');
  });

  test('is connected to its PostgreSQL, with a password that a program gave', async () => {
    await waitFor(async () => (await windows.steep('health')).code === 0, 'health', 60_000);
    expect(await succeeds('status')).toContain(`connected 18.4, 127.0.0.1:${server.port}/postgres`);
    expect(await succeeds('nodes', 'list')).toContain('win-a');
  });

  test('answers whoever connects to its pipe, and tells what it does not understand', async () => {
    const [status, unknown] = await askPipe([
      { id: '1', method: 'status.get' },
      { id: '2', method: 'no.such' },
    ]);
    expect(status).toMatchObject({
      id: '1',
      error: null,
      result: {
        state: 'running',
        node: { node_id: 'win-a' },
        ipc: { path: String.raw`\\.\pipe\steep-repl` },
      },
    });
    expect(unknown).toMatchObject({ id: '2', result: null, error: { code: 'METHOD_NOT_FOUND' } });
  });

  test('answers HTTP', async () => {
    const response = await fetch(`http://127.0.0.1:${ports.http}/health`);
    expect(response.status).toBe(200);
    const metrics = await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text();
    expect(metrics).toContain('steep_repl_postgresql_connected 1');
  });

  test('sees its PostgreSQL go and come back', async () => {
    await server.control('stop');
    await waitFor(async () => (await windows.steep('health')).code === 4, 'the loss');
    await server.control('start');
    await waitFor(async () => (await windows.steep('health')).code === 0, 'the return');
    const rows = await server.query(
      `SELECT action FROM steep_repl.audit_log WHERE action LIKE 'postgresql.%' ORDER BY id`,
    );
    expect(rows.map(({ action }) => action as string)).toEqual(['postgresql.lost', 'postgresql.restored']);
  });
});

describe('a cluster of Windows and Linux', () => {
  let home: DaemonHome;
  let daemon: TestDaemon;
  beforeAll(async () => {
    home = new DaemonHome(undefined, {
      nodeId: 'linux-b',
      config: {
        role: 'witness',
        grpc: { enabled: true, bind: '127.0.0.1', port: ports.peer, advertise: `127.0.0.1:${ports.peer}` },
        cluster: { join: [`127.0.0.1:${ports.grpc}`] },
      },
    });
    cpSync(path.join(windows.folder, 'linux-b'), path.join(home.folder, 'certs'), { recursive: true });
    Bun.spawnSync(['chmod', '600', path.join(home.folder, 'certs/node.key')]);
    daemon = home.start();
    await daemon.logged('ready');
  });
  afterAll(async () => await home[Symbol.asyncDispose]());

  test('has one list of nodes on both sides, by mutual TLS', async () => {
    await waitFor(async () => {
      const { nodes } = JSON.parse(await succeeds('nodes', 'list', '--json')) as {
        nodes: { node_id: string; status: string }[];
      };
      return nodes.filter(({ status }) => status === 'healthy').length === 2;
    }, 'two healthy nodes');
    const health = await succeeds('health', '--remote', `127.0.0.1:${ports.peer}`);
    expect(health).toContain('linux-b');
    await waitFor(() => daemon.stderr.includes('win-a'), 'linux-b to know win-a');
  });
});

test('stopping the service is written into the audit trail, and lets all go', async () => {
  await succeeds('stop');
  const rows = await server.query(
    `SELECT action, success FROM steep_repl.audit_log WHERE action LIKE 'daemon.%' ORDER BY id`,
  );
  expect(rows.map(({ action }) => action as string)).toEqual(['daemon.started', 'daemon.stopped']);
  await succeeds('uninstall', '--yes');
});
