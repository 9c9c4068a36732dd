/** What every command prints with --json, held to its schema; what people read goes nowhere then. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import path from 'node:path';
import { z } from 'zod';
import { type Outcome, steepReplCommand } from '../../support/cli.ts';
import { RawIpc } from '../../support/ipc-raw.ts';
import { commandShapes, eventShape, faultOf, methodShapes } from '../../support/shapes.ts';
import { waitFor } from '../../support/wait.ts';
import { TestNode } from '../rpc/support.ts';

let a: TestNode;
let b: TestNode;
const shown = new Set<string>();

beforeAll(async () => {
  a = await TestNode.start('node-a', { config: { http: { enabled: false } } });
  b = await TestNode.start('node-b', { ca: a });
  for (const node of [a, b]) await node.follows(node.id);
});

afterAll(async () => {
  for (const node of [a, b]) await node[Symbol.asyncDispose]();
});

function wordsOf(args: string[]): string {
  return [args.slice(0, 2).join(' '), args[0]!].find((words) => words in commandShapes)!;
}

/** Nothing but one JSON value of the documented shape on stdout. */
function validated(args: string[], { stdout }: Outcome): unknown {
  const words = wordsOf(args);
  shown.add(words);
  expect([args, faultOf(words, stdout)]).toEqual([args, undefined]);
  return JSON.parse(stdout);
}

async function json(node: TestNode, args: string[], code = 0): Promise<unknown> {
  const outcome = await node.cli([...args, '--json']);
  expect({ args, code: outcome.code, stderr: outcome.stderr }).toEqual({ args, code, stderr: '' });
  return validated(args, outcome);
}

describe('while all is well', () => {
  test.each([
    [['status']],
    [['health']],
    [['nodes', 'list']],
    [['nodes', 'get', 'node-a']],
    [['coordinator', 'show']],
    [['audit']],
    [['reload']],
    [['config', 'show']],
    [['config', 'check']],
    [['config', 'path']],
    [['tls', 'show']],
    [['doctor']],
    [['init-extension']],
  ])('%j', async (args) => {
    await json(a, args);
  });

  test('status --watch, one value a line', async () => {
    const child = Bun.spawn([...steepReplCommand, 'status', '--watch', '--json', '--socket', a.home.socket], {
      env: a.home.env(),
      cwd: a.home.folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    for await (const chunk of child.stdout) {
      stdout += new TextDecoder().decode(chunk);
      if (stdout.split('\n').length > 3) child.kill('SIGINT');
    }
    expect(await child.exited).toBe(0);
    for (const line of stdout.trimEnd().split('\n'))
      validated(['status'], { code: 0, stdout: line, stderr: '' });
  });

  test('version, which asks for no configuration', async () => {
    const outcome = await a.cli(['version', '--json'], { plain: true });
    expect(validated(['version'], outcome)).toMatchObject({ version: '0.1.0' });
  });

  test('config init, the first time and again', async () => {
    const file = path.join(a.home.folder, 'own/config.yaml');
    for (const more of [[], ['--force']]) {
      const outcome = await a.cli(['config', 'init', '--config', file, ...more, '--json'], { plain: true });
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      validated(['config', 'init'], outcome);
    }
  });

  test('tls issue, tls verify and tls init', async () => {
    await json(a, ['tls', 'issue', 'node-x', '--out', path.join(a.home.folder, 'x')]);
    await json(a, ['tls', 'verify', b.address]);
    await json(b, ['health', '--remote', a.address]);
    await json(a, ['tls', 'init', '--host', '127.0.0.1,localhost']);
  });
});

test('what changes the cluster', async () => {
  await json(b, ['nodes', 'join', a.address, '--yes']);
  for (const node of [a, b]) {
    await node.counts('node-a', 'node-b');
    await node.follows('node-a');
    await node.sees('node-a healthy', 'node-b healthy');
  }
  expect(await json(a, ['nodes', 'offline', 'node-b'])).toMatchObject({ node: { status: 'offline' } });
  expect(await json(a, ['nodes', 'online', 'node-b'])).toMatchObject({ node: { status: 'healthy' } });
  expect(await json(a, ['coordinator', 'transfer', 'node-b'])).toMatchObject({ node_id: 'node-b' });
  await b.follows('node-b');
  expect(await json(b, ['nodes', 'remove', 'node-a', '--yes'])).toMatchObject({
    node: { node_id: 'node-a' },
  });
  await json(b, ['nodes', 'readmit', 'node-a']);
  await a.daemon.stop();
  await b.daemon.stop();
  expect(await json(b, ['cluster', 'recover', '--survivors', 'node-b', '--yes'])).toMatchObject({
    survivors: ['node-b'],
  });
  await b.up();
});

describe('while something is wrong', () => {
  test('PostgreSQL is away: all that is known all the same, exit 4', async () => {
    await b.server.stop();
    await waitFor(
      async () => !(await b.ask<{ postgresql: { connected: boolean } }>('status.get')).postgresql.connected,
      'PostgreSQL to be away',
    );
    expect(await json(b, ['status'], 4)).toMatchObject({ postgresql: { connected: false, version: null } });
    expect(await json(b, ['health'], 4)).toMatchObject({ status: 'unhealthy' });
    await json(b, ['doctor'], 1);
    await json(b, ['config', 'check'], 1);
    await waitFor(async () => (await b.cli(['coordinator', 'show'])).code === 4, 'it to resign');
    expect(await json(b, ['coordinator', 'show'], 4)).toMatchObject({ node_id: null, term: null });
    await b.server.start();
  });

  test('nobody answers: what is wrong and what to do, exit 3', async () => {
    expect(await json(a, ['status'], 3)).toMatchObject({ state: 'not running' });
    expect(await json(a, ['tls', 'verify', a.address], 7)).toMatchObject({ ok: false, peer: null });
    for (const args of [['health'], ['nodes', 'list'], ['audit'], ['reload']])
      expect(await a.cli([...args, '--json'])).toMatchObject({ code: 3, stdout: '' });
  });

  test('the configuration cannot be used: its problems, exit 2', async () => {
    a.home.writeRaw('repl: { node_id: a, nonsense: 1, priority: 500 }\n');
    expect(await json(a, ['config', 'check'], 2)).toMatchObject({ valid: false, file: null });
    await json(a, ['doctor'], 2);
  });
});

test('the methods of IPC, and an event', async () => {
  using client = await RawIpc.open(b.home.socket);
  for (const [method, params] of [
    ['status.get'],
    ['health.check'],
    ['nodes.list'],
    ['nodes.get', { node_id: 'node-b' }],
    ['nodes.set_status', { node_id: 'node-b', status: 'online' }],
    ['coordinator.get'],
    ['audit.query', { limit: 3 }],
    ['daemon.reload'],
    ['events.subscribe'],
  ] as const) {
    await waitFor(
      async () => (await client.ask(method, params)).error === null,
      `${method}, once the node coordinates again`,
    );
    const { result } = client.lines.findLast((line) => !('event' in line))!;
    const { error } = methodShapes[method]!.safeParse(result);
    expect([method, error && z.prettifyError(error)]).toEqual([method, undefined]);
  }
  await client.ask('daemon.reload');
  const { event } = await client.find((line) => 'event' in line, 'an event');
  expect(eventShape.safeParse(event).error).toBeUndefined();
});

/** They need a machine with a service manager: test/systemd. */
const SERVICE = new Set(['install', 'uninstall', 'start', 'stop', 'restart', 'logs']);

test('no command was forgotten; mend it by a run of it above', () => {
  expect([...shown].toSorted()).toEqual(
    Object.keys(commandShapes)
      .filter((words) => !SERVICE.has(words))
      .toSorted(),
  );
});
