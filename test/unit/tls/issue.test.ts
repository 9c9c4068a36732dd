import { beforeAll, describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { issueClient, issueNode, makeCa, type Pair } from '../../../src/tls/issue.ts';
import { DAY, loaded, NodeFolder, openssl, runOpenssl } from './certificates.ts';

const HOSTS = ['db1.example.com', 'db_1', '10.0.0.1', 'fe80::1'];
const now = new Date();
let ca: Pair;
let node: Pair;
let client: Pair;
beforeAll(async () => {
  ca = await makeCa(now);
  [node, client] = await Promise.all([
    issueNode(ca, { nodeId: 'node-a', hosts: HOSTS }, now),
    issueClient(ca, 'alice@example.com', now),
  ]);
});

function lifetimeOf({ cert }: Pair): { skew: number; days: number } {
  const { validFromDate, validToDate } = new X509Certificate(cert);
  return {
    skew: Math.round((now.getTime() - validFromDate.getTime()) / 60_000),
    days: Math.round((validToDate.getTime() - now.getTime()) / DAY),
  };
}

/** The extensions as openssl prints them, one line each. */
function extensionsOf({ cert }: Pair): string[] {
  using folder = new NodeFolder();
  folder.write('c.crt', cert);
  const text = runOpenssl(folder.path, 'x509', '-in', 'c.crt', '-noout', '-text');
  const [, extensions = ''] = /X509v3 extensions:\n([\s\S]+?)\n {4}Signature Algorithm/.exec(text) ?? [];
  return extensions
    .split(/\n(?= {12}X509v3)/)
    .map((one) => one.trim().replaceAll(/\s+/g, ' '))
    .filter((one) => !one.includes('Key Identifier'));
}

describe('the CA', () => {
  test('is valid for ten years, and from a few minutes ago, since clocks differ', () => {
    expect(lifetimeOf(ca)).toEqual({ skew: 5, days: 3650 });
  });

  test('has a name of its own', async () => {
    expect(new X509Certificate((await makeCa()).cert).subject).not.toBe(new X509Certificate(ca.cert).subject);
  });

  test.skipIf(openssl === null)('signs certificates and CRLs, and no other CA', () => {
    expect(extensionsOf(ca)).toEqual([
      'X509v3 Basic Constraints: critical CA:TRUE, pathlen:0',
      'X509v3 Key Usage: critical Certificate Sign, CRL Sign',
    ]);
  });
});

describe('the certificate of a node', () => {
  test('is valid for a year, and from a few minutes ago', () => {
    expect(lifetimeOf(node)).toEqual({ skew: 5, days: 365 });
  });

  test.skipIf(openssl === null)('names its hosts and its node, for answering and dialling', () => {
    expect(extensionsOf(node)).toEqual([
      'X509v3 Basic Constraints: critical CA:FALSE',
      'X509v3 Key Usage: critical Digital Signature',
      'X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication',
      'X509v3 Subject Alternative Name: DNS:db1.example.com, DNS:db_1, IP Address:10.0.0.1, IP Address:FE80:0:0:0:0:0:0:1, URI:steep-repl://node/node-a',
    ]);
    expect(new X509Certificate(node.cert).subject).toBe('CN=node-a');
  });

  test('does not outlive its CA', async () => {
    const late = new Date(now.getTime() + 3600 * DAY);
    const { cert } = await issueNode(ca, { nodeId: 'node-a', hosts: [] }, late);
    expect(new X509Certificate(cert).validToDate).toEqual(new X509Certificate(ca.cert).validToDate);
  });

  test('has a key of its own, and a positive serial number of 128 random bits', async () => {
    const again = await issueNode(ca, { nodeId: 'node-a', hosts: HOSTS });
    expect(again.key).not.toBe(node.key);
    const serials = [node, again, client, ca].map(({ cert }) => new X509Certificate(cert).serialNumber);
    expect(new Set(serials).size).toBe(4);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  test('is what a node can start with', () => {
    using folder = new NodeFolder();
    expect(loaded(folder.install(node, ca.cert)).certificate.nodeId).toBe('node-a');
  });
});

test.skipIf(openssl === null)('the certificate of a client is for dialling only', () => {
  expect(extensionsOf(client)).toEqual([
    'X509v3 Basic Constraints: critical CA:FALSE',
    'X509v3 Key Usage: critical Digital Signature',
    'X509v3 Extended Key Usage: TLS Web Client Authentication',
    'X509v3 Subject Alternative Name: URI:steep-repl://client/alice@example.com',
  ]);
});

test.skipIf(openssl === null)('openssl verifies what is issued, strictly and for its purpose', () => {
  using folder = new NodeFolder();
  for (const [name, { cert }] of Object.entries({ ca, node, client })) folder.write(`${name}.crt`, cert);
  const verify = (...args: string[]): string =>
    runOpenssl(folder.path, 'verify', '-x509_strict', '-CAfile', 'ca.crt', ...args);
  expect(verify('-purpose', 'sslserver', '-verify_hostname', 'db1.example.com', 'node.crt')).toContain('OK');
  expect(verify('-purpose', 'sslserver', '-verify_ip', 'fe80::1', 'node.crt')).toContain('OK');
  expect(verify('-purpose', 'sslclient', 'node.crt', 'client.crt')).toContain('OK');
  expect(() => verify('-purpose', 'sslserver', 'client.crt')).toThrow();
  expect(() => verify('-verify_hostname', 'db2', 'node.crt')).toThrow();
});

test.skipIf(openssl === null).each([
  ['EC P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
  ['RSA', ['rsa:2048']],
])('a CA that openssl made signs as well: %s', async (_kind, newkey) => {
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
    '/O=Ä "x", y/CN=o',
  );
  const brought = {
    cert: await Bun.file(`${folder.path}/ca.crt`).text(),
    key: await Bun.file(`${folder.path}/ca.key`).text(),
  };
  folder.write('node.crt', (await issueNode(brought, { nodeId: 'node-a', hosts: ['db1'] })).cert);
  expect(make('verify', '-CAfile', 'ca.crt', 'node.crt')).toContain('OK');
});

test('a CA with a key that cannot sign here is refused in words', async () => {
  const { privateKey } = (await crypto.subtle.generateKey('Ed25519', true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair;
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', privateKey)).toString('base64');
  const key = `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
  expect(issueClient({ cert: ca.cert, key }, 'alice')).rejects.toThrow('a key of the kind ed25519');
});
