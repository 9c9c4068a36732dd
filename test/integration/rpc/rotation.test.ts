/** Certificates that are replaced while calls run: not one call fails. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { waitFor } from '../../support/wait.ts';
import {
  Authority,
  connectJson,
  GrpcPeer,
  type Pems,
  placePems,
  rawTls,
  serialOf,
  TestNode,
} from './support.ts';

let a: TestNode;
let b: TestNode;

beforeAll(async () => {
  a = await TestNode.start('node-a');
  b = await TestNode.start('node-b', { ca: a, join: [a.address] });
  await a.sees('node-a healthy', 'node-b healthy');
});

afterAll(async () => {
  await b[Symbol.asyncDispose]();
  await a[Symbol.asyncDispose]();
});

/** Libraries differ in zeros at the beginning, and in case. */
function bare(serial: string): string {
  return serial.replace(/^0+/, '').toLowerCase();
}

async function servedSerial(node: TestNode, pems: Pems): Promise<string> {
  const socket = await rawTls(node.port, { pems });
  try {
    return bare(socket.getPeerCertificate().serialNumber);
  } finally {
    socket.destroy();
  }
}

/** Waits until a node serves this certificate to new connections. */
async function serves(node: TestNode, pems: Pems, by: Pems): Promise<void> {
  const wanted = bare(serialOf(pems));
  await waitFor(
    async () => (await servedSerial(node, by).catch(() => '')) === wanted,
    `the new certificate of ${node.id}`,
  );
}

/** Calls in a loop: one over a connection that stays, one over a new connection each time. */
class Load {
  readonly failures: string[] = [];
  calls = 0;
  private stopping = false;
  private readonly running: Promise<unknown>;

  constructor(node: TestNode, pems: () => Pems) {
    this.running = Promise.all([this.steady(node, pems()), this.fresh(node, pems)]);
  }

  private async steady(node: TestNode, pems: Pems): Promise<void> {
    using peer = new GrpcPeer(node, pems);
    while (!this.stopping) {
      const answer = await peer.status('HealthCheck');
      this.calls += 1;
      if (!answer.startsWith('OK')) this.failures.push(`steady: ${answer}`);
    }
  }

  private async fresh(node: TestNode, pems: () => Pems): Promise<void> {
    while (!this.stopping) {
      const used = pems();
      try {
        const { status } = await connectJson(node.port, 'GetNodes', {}, { pems: used, from: '127.0.0.3' });
        if (status !== 200) this.failures.push(`fresh: ${status}`);
      } catch (error) {
        this.failures.push(`fresh: ${String(error)}`);
      }
      this.calls += 1;
      await Bun.sleep(5);
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }
}

describe('certificates are replaced while calls run', () => {
  test('by others of the same CA: no call fails, new connections show the new serial, peers stay healthy', async () => {
    const authority = await Authority.of(a);
    const before = a.pems;
    const client = await authority.node('node-z');
    const load = new Load(a, () => client);
    const lines = a.daemon.lines.length;
    for (let round = 0; round < 3; round++) {
      const pems = await authority.node('node-a');
      placePems(a.certs, pems);
      await serves(a, pems, client);
    }
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(load.calls).toBeGreaterThan(20);
    expect(serialOf(a.pems)).not.toBe(serialOf(before));
    expect(a.daemon.count('certificate changed')).toBe(3);
    expect(await a.audit('certificate.changed')).toHaveLength(3);
    for (const { daemon } of [a, b])
      expect(daemon.lines.slice(lines).filter(({ msg }) => /^peer (degraded|unreachable)/.test(msg))).toEqual(
        [],
      );
    await b.sees('node-a healthy', 'node-b healthy');
  });

  test('and calls to other nodes show the new one at once, too', async () => {
    const authority = await Authority.of(a);
    const pems = await authority.node('node-w');
    const shown = new Set<string>();
    // A node that notes who calls, and never says anything.
    const server = tls.createServer(
      { ...pems, ca: pems.ca, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] },
      (socket) => {
        socket.on('error', () => {});
        shown.add(bare(socket.getPeerCertificate().serialNumber));
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const grpcPort = (server.address() as AddressInfo).port;
      const registration = { nodeId: 'node-w', host: '127.0.0.1', grpcHost: '127.0.0.1', grpcPort };
      await connectJson(a.port, 'RegisterNode', registration, { pems });
      await waitFor(() => shown.has(bare(serialOf(a.pems))), 'a call with the present certificate');
      const fresh = await authority.node('node-a');
      placePems(a.certs, fresh);
      await waitFor(() => shown.has(bare(serialOf(fresh))), 'a call with the new certificate');
    } finally {
      server.close();
      await a.ask('nodes.remove', { node_id: 'node-w' });
    }
  });

  test('by those of another CA, through a time in which both are trusted', async () => {
    const [old, fresh] = [await Authority.of(a), await Authority.create('the next CA')];
    const both = `${old.cert}\n${fresh.cert}`;
    const clients = {
      old: { ...(await old.node('node-z')), ca: both },
      fresh: { ...(await fresh.node('node-z')), ca: both },
    };
    let client = clients.old;
    const load = new Load(a, () => client);
    const lines = { a: a.daemon.lines.length, b: b.daemon.lines.length };
    for (const node of [a, b]) placePems(node.certs, { ca: both });
    await Promise.all(
      [a, b].map((node) =>
        waitFor(
          () => connectJson(node.port, 'HealthCheck', {}, { pems: clients.fresh, from: '127.0.0.4' }).then(() => true, () => false), // prettier-ignore
          `${node.id} to trust both`,
        ),
      ),
    );
    const next = { a: await fresh.node('node-a'), b: await fresh.node('node-b') };
    placePems(a.certs, { ...next.a, ca: both });
    placePems(b.certs, { ...next.b, ca: both });
    await serves(a, next.a, clients.fresh);
    await serves(b, next.b, clients.fresh);
    client = clients.fresh;
    await Bun.sleep(50); // a connection that was just being made with the old one
    for (const node of [a, b]) placePems(node.certs, { ca: fresh.cert });
    await waitFor(
      () => connectJson(a.port, 'HealthCheck', {}, { pems: clients.old, from: '127.0.0.5' }).then(() => false, () => true), // prettier-ignore
      'the old CA to be trusted no more',
    );
    await Bun.sleep(2000); // heartbeats of both go on
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(load.calls).toBeGreaterThan(20);
    const later = [...a.daemon.lines.slice(lines.a), ...b.daemon.lines.slice(lines.b)];
    expect(later.filter(({ msg }) => /^peer (degraded|unreachable)/.test(msg))).toEqual([]);
    await a.sees('node-a healthy', 'node-b healthy');
  });

  test('by a broken file: nothing changes, and the log says so once', async () => {
    const { cert } = a.pems;
    placePems(a.certs, { cert: `${cert.slice(0, 200)}\n-----END CERTIFICATE-----\n` });
    await a.daemon.logged('certificates not used');
    await Bun.sleep(2500);
    expect(a.daemon.count('certificates not used')).toBe(1);
    expect(await servedSerial(a, b.pems)).toBe(bare(serialOf({ cert })));
    const shown = async (): Promise<boolean> =>
      JSON.stringify((await a.ask<{ issues: unknown }>('status.get')).issues).includes('node.crt');
    expect(await shown()).toBe(true);
    placePems(a.certs, { cert });
    await waitFor(async () => !(await shown()), 'the issue to end');
    await b.sees('node-a healthy', 'node-b healthy');
  });
});

const OPENSSL = spawnSync('openssl', ['version']).status === 0;
if (!OPENSSL) console.log('skipped: no openssl here');

test.skipIf(!OPENSSL)('certificates made by openssl work', async () => {
  await using node = await TestNode.create('node-o', { certificates: false });
  const folder = node.certs;
  mkdirSync(folder, { mode: 0o700 });
  const run = (...args: string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: folder });
    if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr.toString()}`);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  run('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=openssl CA', '-days', '2');
  run('req', ...key, '-keyout', 'node.key', '-out', 'node.csr', '-subj', '/CN=node-o');
  writeFileSync(
    path.join(folder, 'ext'),
    'subjectAltName=IP:127.0.0.1,DNS:localhost,URI:steep-repl://node/node-o\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  run('x509', '-req', '-in', 'node.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1', '-extfile', 'ext', '-out', 'node.crt'); // prettier-ignore
  run('verify', '-CAfile', 'ca.crt', 'node.crt');
  expect(readFileSync(path.join(folder, 'node.key'), 'utf8')).toContain('PRIVATE KEY');
  await node.up();
  await node.follows('node-o'); // before it founded its cluster it knows nobody, itself included
  using peer = new GrpcPeer(node, node.pems);
  expect(await peer.status('Heartbeat', { node_id: 'node-o' })).toBe('OK');
});
