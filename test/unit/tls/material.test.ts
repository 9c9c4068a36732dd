import { beforeAll, describe, expect, test } from 'bun:test';
import { chownSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { SteepError } from '../../../src/lib/errors.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import { loadTlsMaterial } from '../../../src/tls/material.ts';
import type { TlsFiles } from '../../../src/tls/files.ts';
import { pemBlocks, toPem } from '../../../src/tls/pem.ts';
import {
  CLIENT_AUTH,
  DAY,
  loaded,
  NodeFolder,
  openssl,
  type Pair,
  runOpenssl,
  serialOf,
  SERVER_AUTH,
  TestCa,
} from './certificates.ts';

let ca: TestCa;
let other: TestCa;
let node: Pair;
beforeAll(async () => {
  [ca, other] = await Promise.all([TestCa.make('ca'), TestCa.make('other')]);
  node = await ca.issue({ node: 'node-a' });
});

/** Why the files are refused. */
function refusal(files: TlsFiles): SteepError {
  try {
    loaded(files);
  } catch (error) {
    if (error instanceof SteepError) return error;
    throw error;
  }
  throw new Error('they were accepted');
}

/** The certificate with a point that is on no curve. */
function damagedKeyIn(pem: string): string {
  const [block] = pemBlocks(pem, 'CERTIFICATE');
  const point = block!.der.indexOf(Buffer.from('034200', 'hex'));
  block!.der[point + 3] = 5;
  return toPem('CERTIFICATE', block!.der);
}

describe('the files of TLS are accepted', () => {
  test('with the facts of the certificate, and the chain to its CA', () => {
    using folder = new NodeFolder();
    const material = loaded(folder.install(node, ca.pem));
    expect(material.certificate).toMatchObject({ subject: 'CN=node-a', issuer: 'CN=ca', nodeId: 'node-a' });
    expect(material.chain.map(({ subject }) => subject)).toEqual(['CN=node-a', 'CN=ca']);
    expect(material.crl).toBeUndefined();
  });

  test('with an intermediate CA behind the certificate, and several CAs, comments and no line feeds between', async () => {
    using folder = new NodeFolder();
    const intermediate = await TestCa.make('intermediate', { by: ca });
    const leaf = await intermediate.issue({ node: 'node-a' });
    const pair = { ...leaf, cert: `subject=x\n${leaf.cert.trim()}${intermediate.pem.trim()}` };
    const material = loaded(
      folder.install(pair, `# ours\r\n${other.pem.trim()}${ca.pem.replaceAll('\n', '\r\n')}`),
    );
    const chain = material.chain.map(({ subject }) => subject);
    expect(chain).toEqual(['CN=node-a', 'CN=intermediate', 'CN=ca']);
  });

  test('when the certificate names no purposes', async () => {
    using folder = new NodeFolder();
    loaded(folder.install(await ca.issue({ node: 'node-a', usages: [] }), ca.pem));
  });

  test.skipIf(openssl === null).each([
    ['EC', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['EC P-384', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['RSA', ['-newkey', 'rsa:2048']],
    ['Ed25519', ['-newkey', 'ed25519']],
  ])('when openssl made them, %s', (_kind, newkey) => {
    using folder = new NodeFolder();
    const make = (...args: string[]): string => runOpenssl(folder.path, ...args);
    make(
      'req',
      '-x509',
      ...newkey,
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-subj',
      '/CN=o',
      '-days',
      '9',
    );
    make('req', ...newkey, '-nodes', '-keyout', 'node.key', '-out', 'node.csr', '-subj', '/CN=n/O=Acme');
    folder.write(
      'ext',
      'subjectAltName=DNS:db1,URI:steep-repl://node/node-o\nextendedKeyUsage=serverAuth,clientAuth',
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
      '-days',
      '9',
      '-extfile',
      'ext',
    );
    const { certificate } = loaded(folder.files);
    expect(certificate).toMatchObject({ nodeId: 'node-o', issuer: 'CN=o' });
    expect(certificate.subject).toContain('CN=n');
  });

  test.skipIf(openssl === null)('with a key in the old form of openssl', () => {
    using folder = new NodeFolder();
    folder.install(node, ca.pem);
    folder.write('old.key', runOpenssl(folder.path, 'ec', '-in', 'node.key'));
    expect(loaded({ ...folder.files, key_file: path.join(folder.path, 'old.key') }).key).toContain(
      'EC PRIVATE',
    );
  });
});

test('files that are not there are named, all of them', () => {
  using folder = new NodeFolder();
  const { cert_file: cert, key_file: key, ca_file: caFile } = folder.files;
  expect(loadTlsMaterial(folder.files, thisPlatform())).toEqual({ missing: [cert, key, caFile] });
  folder.install(node, ca.pem);
  rmSync(key);
  expect(loadTlsMaterial(folder.files, thisPlatform())).toEqual({ missing: [key] });
});

describe('the files of TLS are refused', () => {
  test.each([0o640, 0o604, 0o660])('when others may read the key (mode %o)', (mode) => {
    using folder = new NodeFolder();
    const files = folder.install(node, ca.pem);
    folder.write('node.key', node.key, mode);
    expect(refusal(files)).toMatchObject({ code: 'CONFIG_INVALID', hint: `chmod 600 ${files.key_file}` });
  });

  test.skipIf(process.getuid?.() !== 0)(
    'when the key belongs to another user, and chmod would not help',
    () => {
      using folder = new NodeFolder();
      const files = folder.install(node, ca.pem);
      chownSync(files.key_file, 12345, 12345);
      expect(refusal(files)).toMatchObject({
        message: `${files.key_file}: others may read this key (it belongs to user id 12345)`,
        hint: `chown root ${files.key_file}`,
      });
    },
  );

  test('when the key is of another certificate', async () => {
    using folder = new NodeFolder();
    const files = folder.install({ ...node, key: (await ca.issue({ node: 'node-a' })).key }, ca.pem);
    expect(refusal(files).message).toContain('does not belong to the first certificate');
  });

  test('when the CA comes before the certificate', () => {
    using folder = new NodeFolder();
    const { message, hint } = refusal(folder.install({ ...node, cert: ca.pem + node.cert }, ca.pem));
    expect(message).toContain('does not belong to the first certificate');
    expect(hint).toContain('comes first');
  });

  test.each([
    ['empty', ''],
    ['text', 'no PEM'],
    [
      'a PEM of something else',
      '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n',
    ],
    ['a damaged PEM', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
  ])('when a file is %s', (_what, text) => {
    using folder = new NodeFolder();
    for (const [name, file] of [
      ['node.crt', 'cert_file'],
      ['node.key', 'key_file'],
      ['ca.crt', 'ca_file'],
      ['crl.pem', 'crl_file'],
    ] as const) {
      const files: TlsFiles = { ...folder.install(node, ca.pem) };
      if (file === 'crl_file') files.crl_file = path.join(folder.path, name);
      folder.write(name, text);
      const { code, message, hint } = refusal(files);
      expect(code).toBe('CONFIG_INVALID');
      expect(message).toContain(files[file] ?? '?');
      expect(hint).toBeDefined();
    }
  });

  test.skipIf(openssl === null)('when the key has a passphrase', () => {
    using folder = new NodeFolder();
    const files = folder.install(node, ca.pem);
    folder.write(
      'node.key',
      runOpenssl(folder.path, 'pkey', '-in', 'node.key', '-aes256', '-passout', 'pass:x'),
    );
    expect(refusal(files).message).toContain('is encrypted');
  });

  test('when the public key in a certificate or in its CA is damaged, or of a kind that is not known', () => {
    using folder = new NodeFolder();
    const files = folder.install(node, damagedKeyIn(ca.pem));
    expect(refusal(files)).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(refusal(files).message).toContain(files.cert_file);
    folder.install({ ...node, cert: damagedKeyIn(node.cert) }, ca.pem);
    expect(refusal(files)).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(refusal(files).message).toContain(files.key_file);
  });

  test('when a folder lies where a file should', () => {
    using folder = new NodeFolder();
    const files = folder.install(node, ca.pem);
    rmSync(files.ca_file);
    mkdirSync(files.ca_file);
    expect(refusal(files)).toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('when another CA signed the certificate', () => {
    using folder = new NodeFolder();
    expect(refusal(folder.install(node, other.pem)).message).toContain(
      'was issued by CN=ca, which is neither in',
    );
  });

  test('when a CA of the same name signed the certificate', async () => {
    using folder = new NodeFolder();
    const namesake = await TestCa.make('ca');
    for (const anonymous of [false, true]) {
      const pair = await ca.issue({ node: 'node-a', anonymous });
      expect(refusal(folder.install(pair, namesake.pem)).message).toContain('was issued by CN=ca');
    }
  });

  test('when the intermediate CA is missing, or the root', async () => {
    using folder = new NodeFolder();
    const intermediate = await TestCa.make('intermediate', { by: ca });
    const leaf = await intermediate.issue({ node: 'node-a' });
    expect(refusal(folder.install(leaf, ca.pem)).message).toContain('was issued by CN=intermediate');
    expect(refusal(folder.install(leaf, intermediate.pem)).message).toContain('was issued by CN=ca');
    const sent = { ...leaf, cert: leaf.cert + intermediate.pem + ca.pem };
    expect(refusal(folder.install(sent, other.pem)).message).toContain(
      'leads to CN=ca, which is not in ca_file',
    );
  });

  test('when the certificate has expired, or its CA', async () => {
    using folder = new NodeFolder();
    const expired = await ca.issue({ node: 'node-a', from: -2, until: -1.01 });
    const { message, hint } = refusal(folder.install(expired, ca.pem));
    expect(message).toBe(`${folder.files.cert_file}: the certificate CN=node-a expired 1 day ago`);
    expect(hint).toContain('steep-repl tls init');
    const old = await TestCa.make('old', { until: -3.5 });
    expect(refusal(folder.install(await old.issue({ node: 'node-a' }), old.pem)).message).toBe(
      `${folder.files.ca_file}: the certificate CN=old expired 3 days ago`,
    );
  });

  test('when the certificate is not yet valid', async () => {
    using folder = new NodeFolder();
    const { message } = refusal(folder.install(await ca.issue({ node: 'node-a', from: 2.01 }), ca.pem));
    expect(message).toMatch(/CN=node-a is not valid before \d{4}-\S+Z \(in 2 days\)$/);
  });

  test.each([
    [SERVER_AUTH, 'clientAuth'],
    [CLIENT_AUTH, 'serverAuth'],
    ['1.3.6.1.5.5.7.3.3', 'serverAuth and clientAuth'],
  ])('when its only purpose is %s', async (usage, lacking) => {
    using folder = new NodeFolder();
    const { message } = refusal(folder.install(await ca.issue({ node: 'node-a', usages: [usage] }), ca.pem));
    expect(message).toEndWith(`may not be used for ${lacking}`);
  });

  test('when the CRL is not there', () => {
    using folder = new NodeFolder();
    const files = { ...folder.install(node, ca.pem), crl_file: path.join(folder.path, 'crl.pem') };
    expect(refusal(files).message).toBe(`${files.crl_file} is not there`);
  });

  test('when one of several CAs has no CRL: all that it issued would be refused', async () => {
    using folder = new NodeFolder();
    const both = ca.pem + other.pem;
    expect(refusal(folder.install(node, both, await ca.crl([]))).message).toContain(
      'holds no CRL of CN=other',
    );
    loaded(folder.install(node, both, (await ca.crl([])) + (await other.crl([]))));
  });

  test('when a CRL has the name of the CA, but not its signature', async () => {
    using folder = new NodeFolder();
    const impostor = await TestCa.make('ca');
    expect(refusal(folder.install(node, ca.pem, await impostor.crl([]))).message).toContain(
      'no CRL of CN=ca',
    );
  });

  test('when the CRL is out of date, or of tomorrow', async () => {
    using folder = new NodeFolder();
    const old = await ca.crl([], { from: -5, until: -2.5 });
    expect(refusal(folder.install(node, ca.pem, old)).message).toContain(
      'should have been replaced 2 days ago',
    );
    const early = await ca.crl([], { from: 1 });
    expect(refusal(folder.install(node, ca.pem, early)).message).toContain('is not valid before');
    expect(loaded(folder.install(node, ca.pem, old + (await ca.crl([])))).crl).toBeDefined();
  });

  test('when the CRL revokes the node’s own certificate', async () => {
    using folder = new NodeFolder();
    const crl = await ca.crl([serialOf(node)]);
    expect(refusal(folder.install(node, ca.pem, crl)).message).toContain(
      'revokes this node’s own certificate',
    );
  });
});

test('the end of the CRL is known beforehand: of the newest of each CA, and of these the earliest', async () => {
  using folder = new NodeFolder();
  const old = await ca.crl([], { from: -5, until: 1 });
  const [longer, shorter] = await Promise.all([ca.crl([], { until: 9 }), other.crl([], { until: 3 })]);
  const { crlExpires } = loaded(folder.install(node, ca.pem + other.pem, old + longer + shorter));
  expect(Math.round(((crlExpires?.getTime() ?? 0) - Date.now()) / DAY)).toBe(3);
});
