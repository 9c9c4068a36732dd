import { beforeAll, describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { factsOf } from '../../../src/tls/facts.ts';
import { identityOf, type IdentityRules } from '../../../src/tls/identity.ts';
import { type LeafOptions, TestCa } from './certificates.ts';

const BY_URI: IdentityRules = { identity: 'uri', allow: undefined };
const BY_CN: IdentityRules = { identity: 'cn', allow: ['node-a', 'node-b'] };
const INJECTED = 'steep-repl://node/evil';

let ca: TestCa;
beforeAll(async () => {
  ca = await TestCa.make('ca');
});

/** The identity of a real certificate, in the form in which node:tls shows it. */
async function identify(leaf: LeafOptions, rules = BY_URI) {
  const certificate = new X509Certificate((await ca.issue(leaf)).cert);
  return identityOf(certificate.toLegacyObject(), rules);
}

describe('the identity of a certificate', () => {
  test('is the node of its URI', async () => {
    expect(await identify({ node: 'node-a', subject: 'CN=other' })).toEqual({
      kind: 'node',
      nodeId: 'node-a',
    });
  });

  test('is the client of its URI', async () => {
    const names = [{ type: 'url' as const, value: 'steep-repl://client/alice@example.com' }];
    expect(await identify({ names })).toEqual({ kind: 'client', name: 'alice@example.com' });
  });

  test('is never its common name, unless configured', async () => {
    expect(await identify({ subject: 'CN=node-a' })).toEqual({ kind: 'unknown', subject: 'CN=node-a' });
  });

  test('is its common name with identity cn, for the ids in cluster.allow only', async () => {
    expect(await identify({ subject: 'CN=node-a' }, BY_CN)).toEqual({ kind: 'node', nodeId: 'node-a' });
    expect(await identify({ subject: 'CN=node-c' }, BY_CN)).toEqual({
      kind: 'unknown',
      subject: 'CN=node-c',
    });
    expect(await identify({ subject: 'CN=node-a' }, { identity: 'cn', allow: undefined })).toMatchObject({
      kind: 'unknown',
    });
  });

  test('is its URI also with identity cn: a client named like a node stays a client', async () => {
    const names = [{ type: 'url' as const, value: 'steep-repl://client/node-a' }];
    expect(await identify({ names, subject: 'CN=node-a' }, BY_CN)).toEqual({
      kind: 'client',
      name: 'node-a',
    });
  });

  test('is unknown with two common names, whichever is allowed', async () => {
    expect(await identify({ subject: 'CN=node-a, CN=node-b' }, BY_CN)).toMatchObject({ kind: 'unknown' });
  });

  test('is unknown with more than one URI of ours, even the same twice', async () => {
    const twice = { type: 'url' as const, value: 'steep-repl://node/node-a' };
    const client = { type: 'url' as const, value: 'steep-repl://client/alice' };
    expect(await identify({ node: 'node-a', names: [twice] })).toMatchObject({ kind: 'unknown' });
    expect(await identify({ node: 'node-a', names: [client] })).toMatchObject({ kind: 'unknown' });
  });

  test.each([
    'steep-repl://node/',
    'steep-repl://node/-a',
    'steep-repl://node/a/b',
    'steep-repl://node/a?b',
    'steep-repl://node/a#b',
    'steep-repl://node/a b',
    'steep-repl://node/a,b',
    'steep-repl://node/a\nb',
    'steep-repl://node/a\0b',
    'steep-repl://node/%61',
    `steep-repl://node/${'a'.repeat(64)}`,
    'steep-repl://NODE/a',
    'STEEP-REPL://node/node-a',
    ' steep-repl://node/node-a',
    'steep-repl:node/node-a',
    'steep-repl://host/node-a',
    'steep-repl://client/a,b',
  ])('is unknown for a URI that is not quite ours: %p, and its common name does not help', async (value) => {
    const leaf: LeafOptions = { names: [{ type: 'url', value }], subject: 'CN=node-a' };
    expect(await identify(leaf, BY_CN)).toMatchObject({ kind: 'unknown' });
  });

  test.each<[string, LeafOptions]>([
    ['a DNS name', { names: [{ type: 'dns', value: `x, URI:${INJECTED}` }] }],
    ['a DNS name with quotes', { names: [{ type: 'dns', value: `x", URI:${INJECTED}, DNS:"y` }] }],
    ['a mail address', { names: [{ type: 'email', value: `a@b, URI:${INJECTED}` }] }],
    ['another URI', { names: [{ type: 'url', value: `http://x/, URI:${INJECTED}` }] }],
    ['a directory name', { names: [{ type: 'dn', value: `CN="x, URI:${INJECTED}"` }] }],
    ['another name', { names: [{ type: 'upn', value: `x, URI:${INJECTED}` }] }],
    ['the subject', { names: [], subject: `CN="x, URI:${INJECTED}"` }],
  ])('cannot be smuggled in by %s', async (_what, leaf) => {
    expect(await identify(leaf)).toMatchObject({ kind: 'unknown' });
    expect(await identify({ ...leaf, node: 'node-a' })).toEqual({ kind: 'node', nodeId: 'node-a' });
  });

  test('is not found in a common name that looks like two', async () => {
    expect(await identify({ subject: 'CN="x, CN=node-a"' }, BY_CN)).toMatchObject({ kind: 'unknown' });
  });

  test('is unknown and without subject when there is no certificate', () => {
    expect(identityOf({}, BY_URI)).toEqual({ kind: 'unknown', subject: '' });
  });

  test('is unknown when the names are not written as they should be', () => {
    for (const subjectaltname of [
      'URI:"steep-repl://node/node-a',
      'URI:"steep-repl://node/node-a"x',
      'URI',
      'URI:steep-repl://node/node-a,URI:http://x',
    ])
      expect(identityOf({ subjectaltname }, BY_URI)).toEqual({ kind: 'unknown', subject: '' });
  });
});

test('the facts of a certificate hold the node id of its URI only', async () => {
  const node = new X509Certificate((await ca.issue({ node: 'node-a' })).cert);
  expect(factsOf(node)).toMatchObject({
    subject: 'CN=node-a',
    issuer: 'CN=ca',
    sans: ['DNS:localhost', 'IP:127.0.0.1', 'URI:steep-repl://node/node-a'],
    nodeId: 'node-a',
  });
  const named = new X509Certificate((await ca.issue({ subject: 'CN=node-a, O=Acme' })).cert);
  expect(factsOf(named)).toMatchObject({ subject: 'CN=node-a, O=Acme', nodeId: undefined });
});
