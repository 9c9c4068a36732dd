/** Peers of other makes: they know the proto files, and nothing of ours. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { waitFor } from '../../support/wait.ts';
import {
  type Answer,
  Authority,
  GrpcPeer,
  type Pems,
  post,
  rawSession,
  root,
  TestNode,
  placePems,
} from './support.ts';

const PYTHON = '/usr/bin/python3';
const hasPython = spawnSync(PYTHON, ['-c', 'import grpc, google.protobuf']).status === 0;
const hasCurl = spawnSync('curl', ['--version']).stdout?.toString().includes('HTTP2') ?? false;
if (!hasPython) console.log('skipped: no Debian packages python3-grpcio and python3-protobuf here');
if (!hasCurl) console.log('skipped: no curl with HTTP/2 here');

let node: TestNode;
let authority: Authority;
/** A node of another make. */
let pems: Pems;

beforeAll(async () => {
  node = await TestNode.start('node-a');
  authority = await Authority.of(node);
  pems = await authority.node('node-g');
});

afterAll(async () => {
  await node[Symbol.asyncDispose]();
});

const registration = (changes: object = {}): object => ({
  node_id: 'node-g',
  node_name: 'Gopher',
  host: '10.9.9.9',
  port: 5432,
  priority: 7,
  ...changes,
});

describe('@grpc/grpc-js with the proto files', () => {
  test('calls every method, in the name of its certificate', async () => {
    using peer = new GrpcPeer(node, pems);
    expect(await peer.call('HealthCheck')).toMatchObject({
      status: 'SERVING',
      node_id: 'node-a',
      node_name: 'node-a',
      components: { postgresql: { healthy: true, status: 'connected' }, grpc: { healthy: true } },
    });
    expect(await peer.call('HealthCheck', { service: 'postgresql' })).toMatchObject({ status: 'SERVING' });
    const registered = await peer.call('RegisterNode', registration());
    expect(registered).toMatchObject({ success: true, error: '', coordinator_id: 'node-a' });
    expect((registered['nodes'] as Answer[]).map((one) => one['node_id'])).toEqual(['node-a', 'node-g']);
    expect(
      await peer.call('Heartbeat', { node_id: 'node-g', node_status: { postgresql_connected: true } }),
    ).toMatchObject({ acknowledged: true });
    const metadata = { node_id: 'node-g', priority: 9, grpc_host: '127.0.0.1', grpc_port: 1 };
    expect(await peer.call('SyncNodeMetadata', { metadata })).toMatchObject({ success: true, error: '' });
    const { nodes } = await peer.call('GetNodes');
    expect(nodes).toMatchObject([
      { node_id: 'node-a', status: 'healthy', role: 'node', port: 5432 },
      {
        node_id: 'node-g',
        node_name: 'Gopher',
        host: '10.9.9.9',
        priority: 9,
        grpc_host: '127.0.0.1',
        role: '',
      },
    ]);
    const healthy = await peer.call('GetNodes', { status_filter: ['healthy'] });
    expect((healthy['nodes'] as Answer[]).map((one) => one['node_id'])).toEqual(['node-a']);
    expect(await peer.call('GetNodes', { status_filter: ['offline'] })).toMatchObject({ nodes: [] });
  });

  test('finds what it registered in PostgreSQL, audited once in its own name and not again for the same', async () => {
    using peer = new GrpcPeer(node, await authority.node('node-h'));
    for (let i = 0; i < 3; i++) await peer.call('RegisterNode', registration({ node_id: 'node-h' }));
    for (let i = 0; i < 3; i++) await peer.call('Heartbeat', { node_id: 'node-h' });
    await peer.call('SyncNodeMetadata', { metadata: { node_id: 'node-h', priority: 7 } });
    const rows = await node.server.query(
      `SELECT host, priority FROM steep_repl.nodes WHERE node_id = 'node-h'`,
    );
    expect([...rows]).toEqual([{ host: '10.9.9.9', priority: 7 }]);
    expect((await node.audit('node.registered', 'node-h')).map(({ actor }) => String(actor))).toEqual([
      expect.stringMatching(/ for node-h$/),
    ]);
    expect(await node.audit('node.updated', 'node-h')).toEqual([]);
    await peer.call('RegisterNode', registration({ node_id: 'node-h', priority: 8 }));
    await Bun.sleep(2500); // the mirror has written twice: nothing may go back to what it was
    const updates = await node.audit('node.updated', 'node-h');
    expect(updates.map(({ new_value }) => (new_value as Answer)['priority'])).toEqual([8]);
  });

  test('gets the standard health service, also as a stream that tells a change', async () => {
    using peer = new GrpcPeer(node, pems);
    expect(await peer.call('Check', {})).toMatchObject({ status: 'SERVING' });
    expect(await peer.call('Check', { service: 'steep.repl.v1.Coordinator' })).toMatchObject({
      status: 'SERVING',
    });
    expect(await peer.status('Check', { service: 'nobody' })).toStartWith('NOT_FOUND');
    const told: string[] = [];
    const stream = peer.health.Watch({});
    stream.on('data', (answer: { status: string }) => told.push(answer.status));
    stream.on('error', () => {});
    await waitFor(() => told.length === 1, 'the first status');
    await node.server.stop();
    await waitFor(() => told.length === 2, 'the loss of PostgreSQL');
    expect(await peer.call('HealthCheck')).toMatchObject({
      status: 'NOT_SERVING',
      components: { postgresql: { healthy: false, status: 'disconnected' } },
    });
    expect(await peer.call('HealthCheck', { service: 'ipc' })).toMatchObject({ status: 'SERVING' });
    expect(await peer.status('RegisterNode', registration())).toStartWith('UNAVAILABLE PostgreSQL of node-a');
    expect(
      await peer.status('SyncNodeMetadata', { metadata: { node_id: 'node-g', priority: 3 } }),
    ).toStartWith('UNAVAILABLE');
    expect(await peer.status('GetNodes')).toStartWith('OK');
    expect(await peer.status('Heartbeat', { node_id: 'node-g' })).toStartWith('OK');
    await node.server.start();
    await waitFor(() => told.length === 3, 'the return of PostgreSQL');
    stream.cancel();
    expect(told).toEqual(['SERVING', 'NOT_SERVING', 'SERVING']);
    await waitFor(
      async () => (await peer.status('RegisterNode', registration())) === 'OK',
      'registrations again',
    );
  });

  const invalid: [string, string, object][] = [
    ['host', 'RegisterNode', registration({ host: '' })],
    ['host', 'RegisterNode', registration({ host: 'no host' })],
    ['port', 'RegisterNode', registration({ port: 65_536 })],
    ['priority', 'RegisterNode', registration({ priority: 101 })],
    ['node_name', 'RegisterNode', registration({ node_name: 'a\0b' })],
    ['grpc_port', 'RegisterNode', registration({ grpc_host: 'x' })],
    ['role', 'RegisterNode', registration({ role: 'king' })],
    ['instance_id', 'RegisterNode', registration({ instance_id: 'a\0b' })],
    ['cluster_id', 'RegisterNode', registration({ cluster_id: 'x'.repeat(100_000) })],
    ['metadata', 'SyncNodeMetadata', {}],
    ['priority', 'SyncNodeMetadata', { metadata: { node_id: 'node-g', priority: -1 } }],
  ];
  test('gets INVALID_ARGUMENT naming the field', async () => {
    using peer = new GrpcPeer(node, pems);
    for (const [field, method, request] of invalid)
      expect(await peer.status(method, request)).toStartWith(`INVALID_ARGUMENT ${field}: `);
  });

  test('gets the status code of each refusal', async () => {
    using peer = new GrpcPeer(node, pems);
    using stranger = new GrpcPeer(node, await authority.node('node-new'));
    expect(await peer.status('RegisterNode', registration({ node_id: 'node-x' }))).toStartWith(
      'PERMISSION_DENIED',
    );
    expect(await peer.status('Heartbeat', { node_id: 'node-a' })).toStartWith('PERMISSION_DENIED');
    expect(await peer.status('SyncNodeMetadata', { metadata: { node_id: 'node-a' } })).toStartWith(
      'PERMISSION_DENIED',
    );
    expect(await peer.status('RegisterNode', registration({ cluster_id: 'another' }))).toStartWith(
      'FAILED_PRECONDITION',
    );
    expect(await stranger.status('Heartbeat', { node_id: 'node-new' })).toStartWith('NOT_FOUND');
    expect(await stranger.status('SyncNodeMetadata', { metadata: { node_id: 'node-new' } })).toStartWith(
      'NOT_FOUND',
    );
    expect(await peer.status('HealthCheck', { service: 'kitchen' })).toStartWith('NOT_FOUND');
    // A refusal that repeated all of this would be too long a header, and end the connection.
    expect(await peer.status('HealthCheck', { service: 'x'.repeat(100_000) })).toStartWith('NOT_FOUND');
    expect(await peer.status('Heartbeat', { node_id: 'x'.repeat(100_000) })).toBe(
      'PERMISSION_DENIED the certificate of node-g cannot speak for what is no node id',
    );
  });

  test('gets DEADLINE_EXCEEDED when PostgreSQL hangs longer than it wants to wait', async () => {
    using peer = new GrpcPeer(node, pems);
    await using lock = node.server.client();
    await lock.unsafe('BEGIN; LOCK TABLE steep_repl.nodes IN ACCESS EXCLUSIVE MODE');
    const began = performance.now();
    const answer = await peer.status('RegisterNode', registration({ priority: 11 }), 700);
    expect(answer).toStartWith(status[status.DEADLINE_EXCEEDED]);
    expect(performance.now() - began).toBeLessThan(20_000); // the statement itself has 30 s
    expect(await peer.status('HealthCheck')).toStartWith('OK'); // nobody else waits
    await lock.unsafe('ROLLBACK');
  });
});

describe('one port speaks', () => {
  test.skipIf(!hasCurl)('Connect’s JSON with curl and a client certificate', async () => {
    const made = await node.cli(['tls', 'issue', '--client', 'curl', '--out', `${node.home.folder}/curl`]);
    expect(made).toMatchObject({ code: 0 });

    const files = readdirSync(`${node.home.folder}/curl`);
    const file = (end: string): string =>
      path.join(
        node.home.folder,
        'curl',
        files.find((name) => name.endsWith(end) && !name.startsWith('ca')) ?? end,
      );
    const curl = (method: string, body: string): string[] => [
      'curl', '--silent', '--http2', '--max-time', '10', '--write-out', '\n%{http_code} %{http_version}',
      '--cacert', path.join(node.certs, 'ca.crt'), '--cert', file('.crt'), '--key', file('.key'),
      '--header', 'Content-Type: application/json', '--data', body,
      `https://127.0.0.1:${node.port}/steep.repl.v1.Coordinator/${method}`,
    ]; // prettier-ignore
    const run = async (method: string, body = '{}'): Promise<string[]> =>
      (await new Response(Bun.spawn(curl(method, body)).stdout).text()).split('\n');
    const [health, code] = await run('HealthCheck');
    expect(code).toBe('200 2');
    expect(JSON.parse(health!)).toMatchObject({ status: 'SERVING', nodeId: 'node-a' });
    expect((await run('GetNodes'))[1]).toBe('200 2');
    const [refused, denied] = await run('RegisterNode', '{"nodeId":"node-z","host":"10.0.0.1"}');
    expect(denied).toBe('403 2');
    expect(JSON.parse(refused!)).toMatchObject({ code: 'permission_denied' });
    expect((await run('GetNodes', '{"nonsense'))[1]).toBe('400 2');
  });

  test('gRPC-Web, trailers in the body', async () => {
    const session = await rawSession(node.port, { pems });
    try {
      const empty = Buffer.from([0, 0, 0, 0, 0]);
      const {
        status: code,
        headers,
        body,
      } = await post(session, 'HealthCheck', 'application/grpc-web+proto', empty);
      expect(code).toBe(200);
      expect(headers['content-type']).toBe('application/grpc-web+proto');
      const length = body.readUInt32BE(1);
      expect(body[0]).toBe(0);
      expect(body.subarray(5, 5 + length).includes('node-a')).toBe(true);
      expect(body[5 + length]).toBe(0x80); // the trailers
      expect(
        body
          .subarray(10 + length)
          .toString()
          .toLowerCase(),
      ).toContain('grpc-status: 0');
    } finally {
      session.destroy();
    }
  });

  test.skipIf(!hasPython)(
    'gRPC with Debian’s python3-grpcio, from the published image of the proto files',
    async () => {
      const script = path.join(import.meta.dir, 'peer.py');
      const folder = path.join(node.home.folder, 'python');

      placePems(folder, await authority.node('node-p'));
      const child = Bun.spawn(
        [PYTHON, script, node.address, folder, path.join(root, 'proto/published.binpb')],
        {
          stdout: 'pipe',
          stderr: 'pipe',
        },
      );
      const [text, errors] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect({ code: await child.exited, errors }).toMatchObject({ code: 0 });
      expect(text.trim().split('\n')).toEqual([
        'HealthCheck SERVING node-a',
        'RegisterNode True node-p',
        'Heartbeat True',
        'SyncNodeMetadata True',
        'GetNodes node-p Python 77',
        'Check SERVING',
        'Watch SERVING',
        'other PERMISSION_DENIED',
        'invalid INVALID_ARGUMENT',
        'unknown NOT_FOUND',
        'conflict FAILED_PRECONDITION',
        'too large RESOURCE_EXHAUSTED',
      ]);
    },
  );
});
