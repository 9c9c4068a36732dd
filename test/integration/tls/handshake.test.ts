import { beforeAll, describe, expect, test } from 'bun:test';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { SteepError } from '../../../src/lib/errors.ts';
import { handshake, type HandshakeTarget } from '../../../src/tls/handshake.ts';
import type { TlsMaterial } from '../../../src/tls/material.ts';
import { clientTlsOptions, serverTlsOptions } from '../../../src/tls/options.ts';
import { waitFor } from '../../support/wait.ts';
import {
  CLIENT_AUTH,
  type LeafOptions,
  materialOf,
  openssl,
  type Pair,
  runOpenssl,
  NodeFolder,
  loaded,
  serialOf,
  SERVER_AUTH,
  TestCa,
} from '../../unit/tls/certificates.ts';
import { dial, TestServer } from './peers.ts';

const rules = { identity: 'uri', allow: undefined } as const;
let ca: TestCa;
let other: TestCa;
let pair: Pair;
let a: TlsMaterial;
let b: TlsMaterial;
beforeAll(async () => {
  [ca, other] = await Promise.all([TestCa.make('ca'), TestCa.make('other')]);
  pair = await ca.issue({ node: 'node-b' });
  a = materialOf(await ca.issue({ node: 'node-a' }), ca.pem);
  b = materialOf(pair, ca.pem);
});

/** What node a learns about a server of node b that was started with these options. */
async function shake(options: object, target: Partial<HandshakeTarget> = {}): Promise<string> {
  await using server = await TestServer.start(b, options);
  return await outcomeOf({ host: '127.0.0.1', port: server.port, material: a, rules, ...target });
}

async function outcomeOf(target: HandshakeTarget): Promise<string> {
  try {
    const { identity } = await handshake(target);
    return JSON.stringify(identity);
  } catch (error) {
    if (!(error instanceof SteepError)) throw error;
    return error.message.replace(`:${target.port}`, '');
  }
}

/** What node a learns about a server that is none of ours. */
async function answerOf(server: Server, target: Partial<HandshakeTarget> = {}): Promise<string> {
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await outcomeOf({ host: '127.0.0.1', port, material: a, rules, ...target });
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

const NODE_B = JSON.stringify({ kind: 'node', nodeId: 'node-b' });

describe('two nodes of one CA', () => {
  test('know each other: by host name at first, by node id later', async () => {
    expect(await shake({})).toBe(NODE_B);
    expect(await shake({}, { host: 'localhost' })).toBe(NODE_B);
    expect(await shake({}, { nodeId: 'node-b' })).toBe(NODE_B);
  });

  test('know each other by node id whatever the address', async () => {
    const moved = await ca.issue({ node: 'node-b', names: [{ type: 'dns', value: 'elsewhere' }] });
    expect(await shake(moved, { nodeId: 'node-b' })).toBe(NODE_B);
    expect(await shake(moved)).toStartWith('127.0.0.1: its certificate is for DNS:elsewhere');
  });

  test('know each other by common name where that is configured', async () => {
    const company = await ca.issue({ subject: 'CN=node-b' });
    const byName = { identity: 'cn', allow: ['node-a', 'node-b'] } as const;
    expect(await shake(company, { nodeId: 'node-b', rules: byName })).toBe(NODE_B);
    expect(await shake(company, { nodeId: 'node-b' })).toBe('node-b answers as CN=node-b');
  });

  test('know each other through an intermediate CA and several CAs in ca_file', async () => {
    const intermediate = await TestCa.make('intermediate', { by: other });
    const leaf = await intermediate.issue({ node: 'node-b' });
    const both = ca.pem + other.pem;
    const material = materialOf({ ...leaf, cert: leaf.cert + intermediate.pem }, both);
    await using server = await TestServer.start(material);
    const trusting = { ...a, ca: both };
    expect(await outcomeOf({ host: '127.0.0.1', port: server.port, material: trusting, rules })).toBe(NODE_B);
    expect(await dial(server.port, clientTlsOptions(material, { host: 'localhost' }))).toBe('admitted');
  });

  test.skipIf(openssl === null).each([
    ['EC', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['RSA', ['rsa:2048']],
  ])('know each other with certificates that openssl made: %s', async (_kind, newkey) => {
    using folder = new NodeFolder();
    const make = (...args: string[]): string => runOpenssl(folder.path, ...args);
    make(
      'req',
      '-x509',
      '-newkey',
      ...newkey,
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-subj',
      '/CN=o',
    );
    make('req', '-newkey', ...newkey, '-nodes', '-keyout', 'node.key', '-out', 'node.csr', '-subj', '/CN=n');
    folder.write(
      'ext',
      'subjectAltName=IP:127.0.0.1,URI:steep-repl://node/node-b\nextendedKeyUsage=serverAuth,clientAuth',
    );
    make(
      'x509',
      '-req',
      '-in',
      'node.csr',
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-out',
      'node.crt',
      '-extfile',
      'ext',
    );
    const material = loaded(folder.files);
    await using server = await TestServer.start(material);
    expect(await outcomeOf({ host: '127.0.0.1', port: server.port, material, rules })).toBe(NODE_B);
    expect(server.refusals).toEqual([]);
  });
});

describe('a server is refused, and why is told:', () => {
  test.each<[string, LeafOptions & { by?: 'other' }, string | RegExp]>([
    [
      'another CA',
      { by: 'other', node: 'node-b' },
      '127.0.0.1: its certificate was signed by another CA (CN=other)',
    ],
    ['expired', { node: 'node-b', from: -9, until: -3.5 }, '127.0.0.1: its certificate expired 3 days ago'],
    [
      'not yet valid',
      { node: 'node-b', from: 2.5 },
      /^127.0.0.1: its certificate is not valid before .* \(in 2 days\)$/,
    ],
    [
      'a client’s certificate',
      { usages: [CLIENT_AUTH] },
      '127.0.0.1: its certificate may not be used for this',
    ],
    [
      'another host name',
      { names: [{ type: 'dns', value: 'db9' }] },
      '127.0.0.1: its certificate is for DNS:db9',
    ],
  ])('%s', async (_what, { by, ...leaf }, message) => {
    const server = await (by === 'other' ? other : ca).issue(leaf);
    expect(await shake(server)).toMatch(message);
  });

  test('another node than the expected one', async () => {
    expect(await shake(await ca.issue({ node: 'node-c' }), { nodeId: 'node-b' })).toBe(
      'node-b answers as node-c',
    );
  });

  test('a certificate with the expected node as common name only', async () => {
    const company = await ca.issue({ subject: 'CN=node-b, O=Acme' });
    expect(await shake(company, { nodeId: 'node-b' })).toBe('node-b answers as CN=node-b, O=Acme');
  });

  test('revoked', async () => {
    const revoking = materialOf(await ca.issue({ node: 'node-a' }), ca.pem, await ca.crl([serialOf(pair)]));
    expect(await shake({}, { material: revoking })).toBe('127.0.0.1: its certificate was revoked');
  });

  test('TLS 1.2 only', async () => {
    expect(await shake({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).toBe(
      '127.0.0.1: the other side has no TLS 1.3',
    );
  });

  test('no HTTP/2', async () => {
    const server = createTlsServer({ ...serverTlsOptions(b), ALPNProtocols: ['http/1.1'] });
    expect(await answerOf(server)).toBe('127.0.0.1: the other side speaks no HTTP/2');
  });

  test.each<[string, (socket: Socket) => void]>([
    ['that answers in plaintext', (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['that echoes', (socket) => socket.on('data', (data) => socket.write(data))],
    ['that hangs up', (socket) => socket.once('data', () => socket.destroy())],
  ])('a server %s', async (_what, answer) => {
    expect(await answerOf(createServer(answer))).toContain('the other side speaks no TLS');
  });

  test('no such host', async () => {
    const target = { host: 'host.invalid', port: 1, material: a, rules };
    expect(await outcomeOf(target)).toMatch(
      /^host\.invalid: (no such host|the name cannot be looked up now)$/,
    );
  });
});

describe('a client is refused, and the log says why:', () => {
  /** What the log of node b says about a client with these options. */
  async function refusalOf(options: object, crl?: string): Promise<string | undefined> {
    const material = crl === undefined ? b : materialOf(pair, ca.pem, crl);
    await using server = await TestServer.start(material);
    expect(await dial(server.port, { ...clientTlsOptions(a, { host: 'localhost' }), ...options })).not.toBe(
      'admitted',
    );
    await waitFor(() => server.refusals.length > 0, 'the refusal');
    expect(server.admitted).toEqual([]);
    return server.refusals[0];
  }

  test('no certificate', async () => {
    expect(await refusalOf({ cert: undefined, key: undefined })).toBe('client: came without a certificate');
  });

  test('another CA', async () => {
    expect(await refusalOf(await other.issue({ node: 'node-a' }))).toBe(
      'client: its certificate was signed by another CA (CN=other)',
    );
  });

  test('a CA of the same name', async () => {
    const namesake = await TestCa.make('ca');
    expect(await refusalOf(await namesake.issue({ node: 'node-a' }))).toContain('signed by another CA');
  });

  test('signed by a node, which is no CA', async () => {
    const node = await ca.issue({ node: 'node-c' });
    const leaf = await (await TestCa.abuse(node)).issue({ node: 'node-a' });
    expect(await refusalOf({ ...leaf, cert: leaf.cert + node.cert })).toContain('may not be used for this');
  });

  test('expired', async () => {
    const expired = await ca.issue({ node: 'node-a', from: -9, until: -3.5 });
    expect(await refusalOf(expired)).toBe('client: its certificate expired 3 days ago');
  });

  test('not yet valid', async () => {
    expect(await refusalOf(await ca.issue({ node: 'node-a', from: 2.5 }))).toContain('is not valid before');
  });

  test('a server’s certificate', async () => {
    const server = await ca.issue({ usages: [SERVER_AUTH] });
    expect(await refusalOf(server)).toBe('client: its certificate may not be used for this');
  });

  test('revoked', async () => {
    const client = await ca.issue({ node: 'node-a' });
    expect(await refusalOf(client, await ca.crl([serialOf(client)]))).toBe(
      'client: its certificate was revoked',
    );
  });

  test('an intermediate CA that was revoked', async () => {
    const intermediate = await TestCa.make('intermediate', { by: ca });
    const leaf = await intermediate.issue({ node: 'node-a' });
    const serial = intermediate.certificate.serialNumber;
    const crls = (await ca.crl([serial])) + (await intermediate.crl([]));
    expect(await refusalOf({ ...leaf, cert: leaf.cert + intermediate.pem }, crls)).toContain('was revoked');
  });

  test('TLS 1.2', async () => {
    expect(await refusalOf({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).toBe(
      'client: the other side has no TLS 1.3',
    );
  });

  test('no HTTP/2', async () => {
    expect(await refusalOf({ ALPNProtocols: ['http/1.1'] })).toBe('client: the other side speaks no HTTP/2');
  });

  test('plaintext', async () => {
    await using server = await TestServer.start(b);
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await waitFor(() => server.refusals.length > 0, 'the refusal');
    expect(server.refusals).toEqual(['client: the other side speaks no TLS']);
    socket.destroy();
  });

  test.skipIf(openssl === null)('revoked by a CRL that openssl made', async () => {
    using folder = new NodeFolder();
    const client = await ca.issue({ node: 'node-a', serial: '55dd58' });
    folder.install(client, ca.pem);
    folder.write('ca.key', await ca.key());
    folder.write('index.txt', 'R\t350101000000Z\t260101000000Z\t55DD58\tunknown\t/CN=node-a\n');
    folder.write(
      'cnf',
      '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\n',
    );
    runOpenssl(
      folder.path,
      'ca',
      '-config',
      'cnf',
      '-gencrl',
      '-cert',
      'ca.crt',
      '-keyfile',
      'ca.key',
      '-out',
      'crl.pem',
    );
    const crl = await Bun.file(`${folder.path}/crl.pem`).text();
    expect(await refusalOf(client, crl)).toBe('client: its certificate was revoked');
    await using server = await TestServer.start(materialOf(pair, ca.pem, crl));
    expect(await dial(server.port, clientTlsOptions(a, { host: 'localhost' }))).toBe('admitted');
  });
});

test('a node that refuses us is told from one that is not there', async () => {
  const stranger = materialOf(await other.issue({ node: 'node-a' }), other.pem);
  await using server = await TestServer.start(b);
  const trusting = { ...stranger, ca: ca.pem };
  expect(await outcomeOf({ host: '127.0.0.1', port: server.port, material: trusting, rules })).toBe(
    '127.0.0.1 closed the connection: it refuses our certificate',
  );
});

test('a server that never answers is given up at the limit', async () => {
  expect(await answerOf(createServer(), { limit: 100 })).toBe(
    '127.0.0.1: no answer in time to the handshake',
  );
});
