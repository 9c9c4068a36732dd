/** The example for HAProxy: valid, and leads to the coordinator alone. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DaemonHome, type TestDaemon } from '../support/daemon.ts';
import { freePort } from '../support/ports.ts';
import { TestPostgres } from '../support/postgres.ts';
import { waitFor } from '../support/wait.ts';

const stack = new AsyncDisposableStack();
let file: string;
let coordinator: TestDaemon;
const ports = { db1: 0, db2: 0, coordinator: 0, any: 0 };

/** Behind the proxy stand the doors themselves, so that an answer tells whom it came from. */
beforeAll(async () => {
  for (const name of ['db1', 'db2', 'coordinator', 'any'] as const) ports[name] = await freePort();
  const server = stack.use(await TestPostgres.withExtension());
  const http = (port: number) => ({ http: { enabled: true, bind: '127.0.0.1', port } });
  const first = stack.use(new DaemonHome(server, { nodeId: 'db1', config: http(ports.db1) }));
  const second = stack.use(
    new DaemonHome(undefined, { nodeId: 'db2', config: { role: 'witness', ...http(ports.db2) } }),
  );
  coordinator = await first.connected();
  await second.start().logged('ready');
  const text = readFileSync(path.join(import.meta.dir, '../../examples/haproxy.cfg'), 'utf8');
  const local = text
    .replaceAll(/db([12])\.example\.com:5432 check port 8080/g, (_, n: '1' | '2') => {
      const port = ports[`db${n}`];
      return `127.0.0.1:${port} check port ${port}`;
    })
    .replaceAll(':5000', `127.0.0.1:${ports.coordinator}`)
    .replaceAll(':5001', `127.0.0.1:${ports.any}`);
  expect(local).not.toContain('example.com');
  file = path.join(first.folder, 'haproxy.cfg');
  writeFileSync(file, local);
});
afterAll(async () => await stack.disposeAsync());

test('is valid, without a warning', () => {
  const { exitCode, stderr } = Bun.spawnSync(['haproxy', '-c', '-f', file]);
  expect({ exitCode, warnings: stderr.toString().match(/WARNING.*/g) ?? [] }).toEqual({
    exitCode: 0,
    warnings: [],
  });
});

test('leads to the coordinator, and to nobody when there is none', async () => {
  const proxy = Bun.spawn(['haproxy', '-db', '-f', file], { stdio: ['ignore', 'ignore', 'ignore'] });
  const who = async (port: number): Promise<string | undefined> => {
    try {
      // A proxy without a server behind it closes the connection.
      const answer = await fetch(`http://127.0.0.1:${port}/health`, { keepalive: false });
      return ((await answer.json()) as { node: { node_id: string } }).node.node_id;
    } catch {
      return undefined;
    }
  };
  try {
    // In turn it would ask both.
    const always = async (expected: string | undefined): Promise<boolean> => {
      for (let i = 0; i < 8; i++) if ((await who(ports.coordinator)) !== expected) return false;
      return true;
    };
    await waitFor(async () => await always('db1'), 'the coordinator alone behind the proxy');
    await coordinator.stop();
    await waitFor(async () => await always(undefined), 'the end of the way to it');
    expect(await who(ports.db2)).toBe('db2');
  } finally {
    proxy.kill();
    await proxy.exited;
  }
});
