/** Who is refused: gets no answer, and leaves a line in the log with address, subject and reason. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { freePort } from '../../support/ports.ts';
import { waitFor } from '../../support/wait.ts';
import {
  Authority,
  connectJson,
  type Pems,
  placePems,
  type RawOptions,
  rawSession,
  rawTls,
  readPems,
  serialOf,
  TestNode,
} from './support.ts';

let node: TestNode;
let authority: Authority;
let revoked: Pems;
/** Each case comes from an address of its own, since the log tells one refusal of an address a minute. */
let next = 10;

beforeAll(async () => {
  node = await TestNode.create('node-a');
  authority = await Authority.of(node);
  revoked = await authority.node('node-r');
  placePems(node.certs, { crl: await authority.crl(serialOf(revoked)) });
  await node.restart({
    grpc: {
      enabled: true,
      bind: '127.0.0.1',
      port: node.port,
      advertise: node.address,
      tls: { crl_file: `${node.certs}/crl.pem` },
    },
  });
  await node.daemon.waitForLog(
    ({ component, msg }) => component === 'rpc' && msg === 'listening',
    'the door',
  );
});

afterAll(async () => {
  await node[Symbol.asyncDispose]();
});

async function lineOf(address: string): Promise<{ subject: string; reason: string }> {
  await waitFor(
    () => node.refusals.some((line) => line['address'] === address),
    `a line about ${address}`,
    8000,
  );
  const [line, more] = node.refusals.filter((one) => one['address'] === address);
  expect(more).toBeUndefined();
  return { subject: String(line!['subject']), reason: String(line!['reason']) };
}

const HOUR = 3_600_000;
const SERVED = { status: 200 };

describe('in the handshake, without an answer:', () => {
  const cases: [string, RegExp, () => Promise<RawOptions>][] = [
    ['no certificate', /without a certificate/, async () => ({ pems: { ca: node.pems.ca } })],
    [
      'another CA',
      /another CA/,
      async () => ({
        pems: { ...(await (await Authority.create('other')).node('node-b')), ca: node.pems.ca },
      }),
    ],
    [
      'an expired certificate',
      /expired/,
      async () => ({ pems: await authority.node('node-b', { notAfter: new Date(Date.now() - HOUR) }) }),
    ],
    [
      'a certificate not yet valid',
      /not yet valid/,
      async () => ({ pems: await authority.node('node-b', { notBefore: new Date(Date.now() + HOUR) }) }),
    ],
    [
      'a certificate for servers only',
      /may not be used for this/,
      async () => ({ pems: await authority.node('node-b', { usages: ['serverAuth'] }) }),
    ],
    [
      'a certificate for mail only',
      /may not be used for this/,
      async () => ({ pems: await authority.node('node-b', { usages: ['emailProtection'] }) }),
    ],
    ['a revoked certificate', /was revoked/, async () => ({ pems: revoked })],
    ['TLS 1.2', /no TLS 1.3/, async () => ({ pems: node.pems, secure: { maxVersion: 'TLSv1.2' } })],
    [
      'HTTP/1.1 by ALPN',
      /no HTTP\/2/,
      async () => ({ pems: node.pems, secure: { ALPNProtocols: ['http/1.1'] } }),
    ],
  ];
  for (const [what, reason, options] of cases)
    test(what, async () => {
      const from = `127.0.0.${next++}`;
      const attempt = connectJson(node.port, 'GetNodes', {}, { ...(await options()), from });
      expect(await attempt.then(() => 'answered', () => 'no answer')).toBe('no answer'); // prettier-ignore
      const { subject, reason: told } = await lineOf(from);
      expect(told).toMatch(reason);
      // What came before a certificate, or without one, has none.
      const named = /without a certificate|no TLS 1.3|no HTTP\/2/.test(told) ? /^no certificate$/ : /^CN=\S/;
      expect(subject).toMatch(named);
    });

  test('plaintext', async () => {
    const from = `127.0.0.${next++}`;
    const socket = net.connect({ host: '127.0.0.1', port: node.port, localAddress: from });
    let answer = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => (answer += chunk.toString()));
    socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(answer).toBe('');
    expect((await lineOf(from)).reason).toContain('speaks no TLS');
  });

  test('HTTP/2 without TLS', async () => {
    const session = http2.connect(`http://127.0.0.1:${node.port}`);
    session.on('error', () => {});
    await new Promise((resolve) => session.once('close', resolve));
    expect((await lineOf('127.0.0.1')).reason).toContain('speaks no TLS');
  });

  test('HTTP/1.1 by whoever names no protocol at all', async () => {
    const from = `127.0.0.${next++}`;
    const socket = await rawTls(node.port, { pems: node.pems, from, secure: { ALPNProtocols: undefined } });
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.write('POST /steep.repl.v1.Coordinator/GetNodes HTTP/1.1\r\nhost: x\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(answer).toBe('');
    expect(await lineOf(from)).toEqual({ subject: 'CN=node-a', reason: 'speaks no HTTP/2' });
  });
});

describe('by its identity:', () => {
  async function speaks(
    pems: Pems,
    method: string,
    request: object,
  ): Promise<{ status: number; code: unknown; line: { subject: string; reason: string } }> {
    const from = `127.0.0.${next++}`;
    const { status, answer } = await connectJson(node.port, method, request, { pems, from });
    return { status, code: answer['code'], line: await lineOf(from) };
  }
  async function clusterId(): Promise<string> {
    const { answer } = await connectJson(node.port, 'GetNodes', {}, { pems: node.pems });
    return String((answer['nodes'] as Record<string, unknown>[])[0]?.['clusterId']);
  }
  const DENIED = { status: 403, code: 'permission_denied' };

  test('node-b’s certificate registering node-c, which is audited', async () => {
    const pems = await authority.node('node-b');
    const { line, ...answer } = await speaks(pems, 'RegisterNode', { nodeId: 'node-c', host: '10.0.0.1' });
    expect(answer).toEqual(DENIED);
    expect(line).toEqual({
      subject: 'CN=node-b',
      reason: "the certificate of node-b cannot speak for node 'node-c'",
    });
    await waitFor(async () => (await node.audit('rpc.refused')).length === 1, 'its audit row');
    const [row] = await node.audit('rpc.refused');
    expect(row).toMatchObject({
      success: false,
      error_message: line.reason,
      new_value: { caller: 'node-b' },
    });
    expect(String(row!['client_ip'])).toStartWith('127.0.0.');
    expect(await node.nodes()).not.toContain('node-c unknown');
  });

  test('a name that PostgreSQL could not store, which is audited too, and not repeated', async () => {
    const pems = await authority.node('node-z');
    const claimed = `node-\0\n${'x'.repeat(5000)}`;
    const { line, ...answer } = await speaks(pems, 'RegisterNode', { nodeId: claimed, host: '10.0.0.1' });
    expect(answer).toEqual(DENIED);
    expect(line.reason).toBe('the certificate of node-z cannot speak for what is no node id');
    const rows = async (): Promise<unknown[]> =>
      (await node.audit('rpc.refused')).filter((row) => row['error_message'] === line.reason);
    await waitFor(async () => (await rows()).length === 1, 'its audit row');
  });

  test('a client’s certificate acting as a node, though it may ask for health and nodes', async () => {
    const folder = `${node.home.folder}/alice`;
    await node.cli(['tls', 'issue', '--client', 'alice', '--out', folder]);

    const read = (pattern: RegExp): string =>
      readFileSync(`${folder}/${readdirSync(folder).find((name) => pattern.test(name))}`, 'utf8');
    const pems = { cert: read(/^(?!ca).*\.crt$/), key: read(/\.key$/), ca: node.pems.ca };
    for (const method of ['HealthCheck', 'GetNodes'])
      expect(await connectJson(node.port, method, {}, { pems })).toMatchObject(SERVED);
    const requests = {
      RegisterNode: { nodeId: 'alice', host: '10.0.0.1' },
      Heartbeat: { nodeId: 'node-a' },
      SyncNodeMetadata: { metadata: { nodeId: 'node-a', priority: 1 } },
    };
    for (const [method, request] of Object.entries(requests)) {
      const { line, ...answer } = await speaks(pems, method, request);
      expect(answer).toEqual(DENIED);
      expect(line.reason).toContain('client/alice');
    }
  });

  test('any certificate but the node’s own in an election: no vote, no promise, no change', async () => {
    const version = { term: '99', number: '1' };
    const election = { nodeId: 'node-a', term: '99' };
    const requests = {
      'Election/Vote': { ...election, list: version },
      'Election/Renew': { ...election, leaseMs: '60000', version },
      'Election/Release': election,
      'Election/Propose': { kind: 'offline', nodeId: 'node-a' },
    };
    for (const pems of [
      await authority.issue({ cn: 'alice', uri: 'steep-repl://client/alice', usages: ['clientAuth'] }),
      await authority.issue({ cn: 'node-a' }),
      await authority.node('node-b'),
    ])
      for (const [method, request] of Object.entries(requests)) {
        const { line, ...answer } = await speaks(pems, method, request);
        expect(answer).toEqual(DENIED);
        expect(line.reason).toMatch(/cannot speak for node 'node-a'|is not a member of this cluster/);
      }
    expect(await node.follows('node-a')).toBe(1);
  });

  test('a company CA’s certificate with a node’s name as CN, though it may ask for health', async () => {
    const pems = await authority.issue({ cn: 'node-a' });
    expect(await connectJson(node.port, 'HealthCheck', {}, { pems })).toMatchObject(SERVED);
    const { line, ...answer } = await speaks(pems, 'Heartbeat', { nodeId: 'node-a' });
    expect(answer).toEqual(DENIED);
    expect(line.subject).toBe('CN=node-a');
  });

  test('a removed node, whatever it asks', async () => {
    const pems = await authority.node('node-x');
    await connectJson(node.port, 'RegisterNode', { nodeId: 'node-x', host: '10.0.0.1' }, { pems });
    await node.ask('nodes.remove', { node_id: 'node-x' });
    const version = { term: '1', number: '1' };
    const election = { nodeId: 'node-x', clusterId: await clusterId(), term: '99' };
    for (const [method, request] of [
      ['HealthCheck', {}],
      ['GetNodes', {}],
      ['Heartbeat', { nodeId: 'node-x' }],
      ['RegisterNode', { nodeId: 'node-x', host: '10.0.0.9', revision: '99' }],
      ['Election/Vote', { ...election, list: version }],
      ['Election/Renew', { ...election, leaseMs: '60000', version }],
    ] as const) {
      const { line, ...answer } = await speaks(pems, method, request);
      expect(answer).toEqual(DENIED);
      expect(line.reason).toContain('node-x was removed');
    }
    expect(await node.follows('node-a')).toBe(1);
    await node.ask('nodes.readmit', { node_id: 'node-x' });
    expect(await connectJson(node.port, 'Heartbeat', { nodeId: 'node-x' }, { pems })).toMatchObject(SERVED);
  });

  test('a certificate that is revoked while it is connected: its connection ends, others go on', async () => {
    const pems = await authority.node('node-y');
    const [session, other] = await Promise.all([
      rawSession(node.port, { pems, from: '127.0.0.201' }),
      rawSession(node.port, { pems: node.pems, from: '127.0.0.202' }),
    ]);
    const closed = new Promise((resolve) => session.once('close', resolve));
    await Bun.sleep(100);
    placePems(node.certs, { crl: await authority.crl(serialOf(revoked), serialOf(pems)) });
    await closed;
    expect((await lineOf('127.0.0.201')).reason).toContain('revoked');
    expect(other.closed).toBe(false);
    other.destroy();
  });
});

describe('the log', () => {
  test('has one line a minute of an address that is refused a hundred times', async () => {
    const pems = { ca: node.pems.ca };
    for (let i = 0; i < 100; i++)
      await connectJson(node.port, 'GetNodes', {}, { pems, from: '127.0.0.210' }).catch(() => {});
    await connectJson(node.port, 'GetNodes', {}, { pems, from: '127.0.0.211' }).catch(() => {});
    await lineOf('127.0.0.211');
    await lineOf('127.0.0.210'); // and expects that there is no second one
  });

  test('and the audit trail has one row of a node that tries to register again and again', async () => {
    const pems = await authority.node('node-b');
    const before = (await node.audit('rpc.refused')).length;
    for (let i = 0; i < 20; i++)
      await connectJson(node.port, 'RegisterNode', { nodeId: 'node-q', host: '10.0.0.1' }, { pems });
    await waitFor(async () => (await node.audit('rpc.refused')).length > before, 'the row');
    await Bun.sleep(300);
    expect((await node.audit('rpc.refused')).length).toBe(before + 1);
  });

  test('and ten rows an hour of one that thinks out a new id for each call', async () => {
    const pems = await authority.node('node-f');
    const rows = async (): Promise<number> =>
      (await node.audit('rpc.refused')).filter(({ new_value }) => Object(new_value).caller === 'node-f').length; // prettier-ignore
    for (let i = 0; i < 50; i++)
      await connectJson(node.port, 'RegisterNode', { nodeId: `node-${i}`, host: '10.0.0.1' }, { pems });
    await waitFor(async () => (await rows()) >= 10, 'the rows');
    await Bun.sleep(300);
    expect(await rows()).toBe(10);
  });

  test('holds no secret', () => {
    expect(node.daemon.stderr).not.toContain('PRIVATE KEY');
    expect(node.daemon.other).toEqual([]);
  });
});

test('a node without certificates serves its PostgreSQL: degraded, and 200 for a load balancer', async () => {
  const port = await freePort();
  await using bare = await TestNode.start('node-n', {
    certificates: false,
    config: { http: { enabled: true, bind: '127.0.0.1', port } },
  });
  const health = async (): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/health`);
    return { code: response.status, ...((await response.json()) as object) };
  };
  expect(await health()).toMatchObject({
    code: 200,
    status: 'degraded',
    components: { grpc: { healthy: false } },
  });
  expect(await bare.cli(['tls', 'init', '--host', '127.0.0.1'])).toMatchObject({ code: 0 });
  await bare.daemon.waitForLog(
    ({ component, msg }) => component === 'rpc' && msg === 'listening',
    'the door',
  );
  await waitFor(async () => ((await health()) as { status: string }).status === 'healthy', 'health');
  expect(await connectJson(bare.port, 'HealthCheck', {}, { pems: readPems(bare.certs) })).toMatchObject(
    SERVED,
  );
});
