import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { type AddressInfo, createServer, type Server } from 'node:net';
import path from 'node:path';
import { type ErrorCode, SteepError } from '../../../src/lib/errors.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import { initTls } from '../../../src/tls/init.ts';
import { serverTlsOptions } from '../../../src/tls/options.ts';
import { loaded, materialOf, type Pair, serialOf, TestCa } from '../../unit/tls/certificates.ts';
import { type Outcome, Sandbox } from '../../support/cli.ts';

let sandbox: Sandbox;
let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
  sandbox = stack.use(new Sandbox());
  configure({});
});
afterEach(async () => await stack.disposeAsync());

function configure(settings: Record<string, unknown>): void {
  sandbox.writeConfig({ node_id: 'node-a', grpc: { advertise: '127.0.0.1:5433', tls: settings } });
}

async function tls(...args: string[]): Promise<Outcome> {
  return await sandbox.run(['tls', ...args, '--config', sandbox.config]);
}

/** What `tls init` does, without the time that a process takes. */
async function prepared(nodeId = 'node-a'): Promise<void> {
  const files = { cert_file: inCerts('node.crt'), key_file: inCerts('node.key'), ca_file: inCerts('ca.crt') };
  const stateDir = path.join(sandbox.folder, 'state');
  const hosts = ['127.0.0.1'];
  await initTls({ files, nodeId, ownHosts: [], hosts, stateDir, platform: thisPlatform() });
}

const inCerts = (name: string): string => path.join(sandbox.folder, 'certs', name);
const modeOf = (file: string): number => statSync(file).mode & 0o777;

function read(file: string): X509Certificate {
  return new X509Certificate(readFileSync(file));
}

/** Every file of the certificates with its content. */
function everything(): Record<string, string> {
  const files = readdirSync(path.dirname(inCerts('x'))).filter((name) => !name.endsWith('.lock'));
  return Object.fromEntries(files.map((name) => [name, readFileSync(inCerts(name), 'utf8')]));
}

describe('tls init', () => {
  test('makes CA and certificate where the configuration points, keys for nobody else, and verify is content', async () => {
    const { code, stderr, stdout } = await tls('init');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toContain('keep a copy of');
    expect(Object.keys(everything()).toSorted()).toEqual(['ca.crt', 'ca.key', 'node.crt', 'node.key']);
    expect(modeOf(inCerts('ca.key'))).toBe(0o600);
    expect(modeOf(inCerts('node.key'))).toBe(0o600);
    expect(modeOf(inCerts('node.crt'))).toBe(0o644);
    expect(read(inCerts('node.crt')).subjectAltName).toContain('IP Address:127.0.0.1');
    expect(await tls('verify')).toMatchObject({ code: 0 });
    expect(await tls('show')).toMatchObject({ code: 0 });
  });

  test('writes to other places, too', async () => {
    const at = (name: string): string => path.join(sandbox.folder, 'pki', name, name);
    configure({ cert_file: at('c'), key_file: at('k'), ca_file: at('a') });
    expect(await tls('init')).toMatchObject({ code: 0 });
    expect(readdirSync(path.dirname(at('a'))).toSorted()).toEqual(['a', 'ca.key', 'ca.key.lock']);
    expect(await tls('verify')).toMatchObject({ code: 0 });
  });

  test('run again keeps the CA, renews the certificate, and keeps its names unless told others', async () => {
    await tls('init', '--host', 'db1.example.com,10.0.0.1');
    const before = everything();
    const { code, stdout } = await tls('init', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      ca: 'kept',
      certificate: { node_id: 'node-a', days_left: 364 },
    });
    const after = everything();
    expect({ ...after, 'node.crt': '', 'node.key': '' }).toEqual({
      ...before,
      'node.crt': '',
      'node.key': '',
    });
    expect(after['node.key']).not.toBe(before['node.key']);
    expect(read(inCerts('node.crt')).subjectAltName).toContain('DNS:db1.example.com, IP Address:10.0.0.1');
    await tls('init', '--host', 'db9');
    expect(read(inCerts('node.crt')).subjectAltName).not.toContain('db1.example.com');
    expect(await tls('verify')).toMatchObject({ code: 0 });
  });

  test('run by several at one moment makes one CA, and a pair that fits', async () => {
    const outcomes = await Promise.all([tls('init'), tls('init'), tls('init'), tls('init')]);
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    expect(outcomes.filter(({ stderr }) => stderr.includes('CA made'))).toHaveLength(1);
    expect(await tls('verify')).toMatchObject({ code: 0 });
  });

  describe('changes nothing and says why', () => {
    async function refused(message: string, code: ErrorCode = 'CONFLICT'): Promise<void> {
      const before = everything();
      const error = await prepared(node).then(
        () => undefined,
        (thrown: unknown) => SteepError.from(thrown),
      );
      expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
      expect(error?.hint).toBeDefined();
      expect(everything()).toEqual(before);
    }

    let node: string;
    beforeEach(() => (node = 'node-a'));
    beforeEach(() => mkdirSync(path.dirname(inCerts('x')), { mode: 0o755 }));

    test('when a company CA is there', async () => {
      const company = await TestCa.make('company');
      writeFileSync(inCerts('ca.crt'), company.pem);
      await refused('is there, but not the key of that CA');
    });

    test('when only the CA’s key is there', async () => {
      await prepared();
      rmSync(inCerts('ca.crt'));
      await refused('is there, but not its certificate');
    });

    test('when the CA’s key is of another CA', async () => {
      await prepared();
      writeFileSync(inCerts('ca.crt'), (await TestCa.make('other')).pem);
      await refused('belongs to no certificate in');
    });

    test('when the CA’s key is damaged', async () => {
      await prepared();
      writeFileSync(inCerts('ca.key'), 'x');
      await refused('is damaged');
    });

    test('when others may read the CA’s key', async () => {
      await prepared();
      chmodSync(inCerts('ca.key'), 0o640);
      await refused('others may read this key', 'PERMISSION_DENIED');
    });

    test('when others may write the folder', async () => {
      chmodSync(path.dirname(inCerts('x')), 0o777);
      await refused('others may write this folder', 'PERMISSION_DENIED');
    });

    test('when the certificate is of another CA, of another node, or not to be understood', async () => {
      await prepared();
      const own = readFileSync(inCerts('node.crt'), 'utf8');
      const company = await TestCa.make('company');
      writeFileSync(inCerts('node.crt'), (await company.issue({ subject: 'CN=node-a' })).cert);
      await refused('holds the certificate CN=node-a that tls init did not make for node-a');
      writeFileSync(inCerts('node.crt'), 'x');
      await refused('holds something that tls init did not make');
      writeFileSync(inCerts('node.crt'), own);
      node = 'node-b';
      await refused('did not make for node-b');
    });

    test('when a key waits for its certificate', async () => {
      writeFileSync(inCerts('node.key'), 'x');
      await refused('is there, but not its certificate');
    });

    test('when the CA has expired', async () => {
      const ca = await TestCa.make('old', { from: -9, until: -2.5 });
      writeFileSync(inCerts('ca.crt'), ca.pem);
      writeFileSync(inCerts('ca.key'), await ca.key(), { mode: 0o600 });
      await refused('the CA CN=old cannot sign: expired 2 days ago', 'FAILED');
    });
  });

  test('tells in a sentence and with the exit code that it changes nothing', async () => {
    await prepared();
    rmSync(inCerts('ca.key'));
    const { code, stdout, stderr } = await tls('init');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^steep-repl: .*ca\.crt is there, but not the key of that CA.*\n {2}hint: /);
  });

  test('goes on with a new CA beside the old one, so that nodes can change one by one', async () => {
    await prepared();
    const old = readFileSync(inCerts('ca.crt'), 'utf8');
    const fresh = await TestCa.make('new');
    writeFileSync(inCerts('ca.crt'), old + fresh.pem);
    writeFileSync(inCerts('ca.key'), await fresh.key(), { mode: 0o600 });
    expect(await tls('init')).toMatchObject({ code: 0 });
    expect(read(inCerts('node.crt')).issuer).toBe('CN=new');
    expect(readFileSync(inCerts('ca.crt'), 'utf8')).toBe(old + fresh.pem);
  });

  test('refuses what is no host', async () => {
    expect(await tls('init', '--host', 'db1,10.0.0.256')).toMatchObject({ code: 2, stdout: '' });
  });
});

describe('tls issue', () => {
  const issued = (...names: string[]): string => path.join(sandbox.folder, ...names);

  test('signs for another node, which then is content with the three files', async () => {
    await prepared();
    expect(await tls('issue', 'node-b', '--host', 'db2,[fe80::1]')).toMatchObject({ code: 0, stdout: '' });
    expect(readdirSync(issued('node-b')).toSorted()).toEqual(['ca.crt', 'node.crt', 'node.key']);
    expect(modeOf(issued('node-b'))).toBe(0o700);
    expect(modeOf(issued('node-b', 'node.key'))).toBe(0o600);
    const { certificate } = loaded({
      cert_file: issued('node-b', 'node.crt'),
      key_file: issued('node-b', 'node.key'),
      ca_file: issued('node-b', 'ca.crt'),
    });
    expect(certificate).toMatchObject({
      nodeId: 'node-b',
      sans: ['DNS:db2', 'IP:fe80::1', 'URI:steep-repl://node/node-b'],
    });
  });

  test('signs for an operator’s tools', async () => {
    await prepared();
    const { code, stdout } = await tls('issue', '--client', 'alice', '--out', 'x/y', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      folder: issued('x', 'y'),
      wrote: ['client.crt', 'client.key', 'ca.crt'].map((name) => issued('x', 'y', name)),
      certificate: { subject: 'CN=alice', sans: ['URI:steep-repl://client/alice'], node_id: null },
    });
    expect(modeOf(issued('x', 'y', 'client.key'))).toBe(0o600);
  });

  test('writes over an earlier certificate with --force only', async () => {
    await prepared();
    await tls('issue', 'node-b');
    const before = readFileSync(issued('node-b', 'node.crt'), 'utf8');
    expect(await tls('issue', 'node-b')).toMatchObject({ code: 1 });
    expect(readFileSync(issued('node-b', 'node.crt'), 'utf8')).toBe(before);
    expect(await tls('issue', 'node-b', '--force')).toMatchObject({ code: 0 });
    expect(readFileSync(issued('node-b', 'node.crt'), 'utf8')).not.toBe(before);
  });

  test('needs the CA, and says where it is made', async () => {
    const { code, stderr } = await tls('issue', 'node-b');
    expect(code).toBe(1);
    expect(stderr).toContain('steep-repl tls init');
  });

  test.each([[[]], [['node-b', '--client', 'alice']], [['../node-b']]])(
    'refuses %p as wrong usage',
    async (args) => {
      expect(await tls('issue', ...args)).toMatchObject({ code: 2 });
    },
  );
});

describe('tls show', () => {
  test('lists each file with names, issuer and expiry', async () => {
    await prepared();
    const { code, stdout } = await tls('show', '--json');
    expect(code).toBe(0);
    const { files } = JSON.parse(stdout) as { files: Record<string, unknown>[] };
    expect(files.map(({ kind, present, problem }) => ({ kind, present, problem }))).toEqual(
      ['certificate', 'key', 'ca', 'ca key'].map((kind) => ({ kind, present: true, problem: null })),
    );
    expect(files[0]?.['certificates']).toMatchObject([
      { subject: 'CN=node-a', node_id: 'node-a', days_left: 364 },
    ]);
  });

  test('tells of a damaged, a missing, an expired and an exposed file, each for itself', async () => {
    const ca = await TestCa.make('ca');
    await prepared();
    writeFileSync(inCerts('node.crt'), (await ca.issue({ node: 'node-a', until: -0.5 })).cert);
    chmodSync(inCerts('node.key'), 0o644);
    writeFileSync(inCerts('ca.crt'), 'x');
    configure({ crl_file: inCerts('crl.pem') });
    const { code, stdout } = await tls('show');
    expect(code).toBe(1);
    for (const text of ['expired 12 hours ago', 'others may read', 'holds no certificate', 'not there'])
      expect(stdout).toContain(text);
  });

  test('shows a CRL: whose it is, whom it revokes, how long it counts', async () => {
    const ca = await TestCa.make('ca');
    const pair = await ca.issue({ node: 'node-a' });
    mkdirSync(path.dirname(inCerts('x')));
    for (const [name, text] of Object.entries({
      'ca.crt': ca.pem,
      'node.crt': pair.cert,
      'node.key': pair.key,
    }))
      writeFileSync(inCerts(name), text, { mode: 0o600 });
    writeFileSync(inCerts('crl.pem'), await ca.crl(['0a', '0b']));
    configure({ crl_file: inCerts('crl.pem') });
    const { code, stdout } = await tls('show', '--json');
    expect(code).toBe(0);
    const { files } = JSON.parse(stdout) as { files: Record<string, unknown>[] };
    expect(files.at(-1)).toMatchObject({ kind: 'crl', crls: [{ issuer: 'CN=ca', revoked: 2 }] });
  });
});

describe('tls verify', () => {
  interface Verdict {
    ok: boolean;
    address: string | null;
    checks: { name: string; status: string; message: string; hint: string | null }[];
    peer: Record<string, unknown> | null;
  }

  async function verify(...args: string[]): Promise<{ code: number; verdict: Verdict; last: string }> {
    const { code, stdout } = await tls('verify', ...args, '--json');
    const verdict = JSON.parse(stdout) as Verdict;
    return { code, verdict, last: verdict.checks.at(-1)?.message ?? '' };
  }

  /** A node with this pair, on a free port of 127.0.0.1; the address. */
  async function node(pair: Pair, ca: string, options: object = {}): Promise<string> {
    return await listen(createSecureServer({ ...serverTlsOptions(materialOf(pair, ca)), ...options }));
  }

  async function listen(server: Server | ReturnType<typeof createSecureServer>): Promise<string> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stack.defer(() => void server.close());
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  let ca: TestCa;
  let own: Pair;
  beforeEach(async () => {
    ca = await TestCa.make('ca');
    own = await ca.issue({ node: 'node-a' });
    mkdirSync(path.dirname(inCerts('x')));
    install(own);
  });

  function install(pair: Pair): void {
    for (const [name, text] of Object.entries({
      'ca.crt': ca.pem,
      'node.crt': pair.cert,
      'node.key': pair.key,
    }))
      writeFileSync(inCerts(name), text, { mode: 0o600 });
  }

  test('is content with a node of the cluster, and says who answers', async () => {
    const peer = await ca.issue({ node: 'node-b' });
    const address = await node(peer, ca.pem);
    expect(await verify(address)).toMatchObject({
      code: 0,
      verdict: {
        ok: true,
        address,
        peer: { subject: 'CN=node-b', identity: 'node-b', protocol: 'TLSv1.3', serial: serialOf(peer) },
      },
    });
    expect(await verify(address, '--node', 'node-b')).toMatchObject({ code: 0 });
  });

  test('says who answers instead of the expected node', async () => {
    const address = await node(await ca.issue({ node: 'node-c' }), ca.pem);
    expect(await verify(address, '--node', 'node-b')).toMatchObject({
      code: 1,
      last: 'node-b answers as node-c',
    });
  });

  test('says what is wrong with the certificate that answers', async () => {
    const old = await ca.issue({ node: 'node-b', from: -9, until: -3.5 });
    const server = { ...serverTlsOptions(materialOf(own, ca.pem)), ...old };
    const address = await listen(createSecureServer(server));
    expect(await verify(address)).toMatchObject({
      code: 1,
      last: `${address}: its certificate expired 3 days ago`,
    });
  });

  test('says that the other side refuses us', async () => {
    const other = await TestCa.make('other');
    const address = await node(await ca.issue({ node: 'node-b' }), ca.pem, { ca: other.pem });
    expect(await verify(address)).toMatchObject({
      code: 1,
      last: `${address} closed the connection: it refuses our certificate`,
    });
  });

  test('ends with 7 when nobody is there, with 6 when nobody says anything for 5 seconds', async () => {
    const closed = createServer();
    const nobody = await listen(closed);
    await new Promise((resolve) => closed.close(resolve));
    const silent = await listen(createServer((socket) => stack.defer(() => void socket.destroy())));
    const [refused, hung] = await Promise.all([verify(nobody), verify(silent)]);
    expect(refused).toMatchObject({ code: 7, last: `${nobody}: connection refused` });
    expect(hung).toMatchObject({ code: 6, last: `${silent}: no answer in time to the handshake` });
  });

  test('dials nobody while the own files are broken', async () => {
    writeFileSync(inCerts('ca.crt'), '');
    const { code, verdict } = await verify('127.0.0.1:1');
    expect({ code, names: verdict.checks.map(({ name }) => name) }).toEqual({ code: 1, names: ['files'] });
  });

  test('fails when the certificate is of another node, by URI or by common name', async () => {
    install(await ca.issue({ node: 'node-z' }));
    expect(await verify()).toMatchObject({ code: 1 });
    install(await ca.issue({ subject: 'CN=node-a' }));
    expect(await verify()).toMatchObject({ code: 1 });
    sandbox.writeConfig({
      node_id: 'node-a',
      grpc: { advertise: '127.0.0.1:5433', tls: { identity: 'cn' } },
      cluster: { allow: ['node-a'] },
    });
    expect(await verify()).toMatchObject({ code: 0 });
  });

  test('warns of an end within 30 days, and of a certificate that is not for the advertised address', async () => {
    install(await ca.issue({ node: 'node-a', until: 29, names: [{ type: 'dns', value: 'db1' }] }));
    const { code, verdict } = await verify();
    expect(code).toBe(0);
    expect(verdict.checks.filter(({ status }) => status === 'warn').map(({ name }) => name)).toEqual([
      'address',
      'expiry',
    ]);
  });

  test('refuses an expected node without an address as wrong usage', async () => {
    expect(await tls('verify', '--node', 'node-b')).toMatchObject({ code: 2 });
  });
});
