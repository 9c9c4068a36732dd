/** How nodes see each other, and what they say when one cannot be reached. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import net from 'node:net';
import tls from 'node:tls';
import { freePort } from '../../support/ports.ts';
import { waitFor } from '../../support/wait.ts';
import { Authority, type Pems, placePems, TestNode, usageOf } from '../rpc/support.ts';

/** Between a node and its peer: can swallow everything that passes over the connections of the moment. */
class Proxy implements AsyncDisposable {
  private readonly server: net.Server;
  private pairs: [net.Socket, net.Socket][] = [];

  private constructor(server: net.Server, target: number) {
    this.server = server;
    server.on('connection', (from) => {
      const to = net.connect(target, '127.0.0.1');
      this.pairs.push([from, to]);
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const) {
        // prettier-ignore
        one.on('data', (chunk) => other.write(chunk));
        one.on('close', () => other.destroy());
        one.on('error', () => {});
      }
    });
  }

  static async listen(port: number, target: number): Promise<Proxy> {
    const server = net.createServer();
    const proxy = new Proxy(server, target);
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return proxy;
  }

  /** As a firewall that forgot the connections: nothing passes any more, and nobody is told. */
  swallow(): number {
    const swallowed = this.pairs.filter(([from]) => !from.destroyed);
    for (const pair of swallowed) for (const socket of pair) socket.removeAllListeners('data').resume();
    return swallowed.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.pairs.flat()) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

let a: TestNode;
let b: TestNode;
let proxy: Proxy;

beforeAll(async () => {
  const door = await freePort();
  a = await TestNode.start('node-a');
  b = await TestNode.create('node-b', { ca: a, join: [a.address] });
  proxy = await Proxy.listen(door, b.port);
  await b.restart({
    grpc: { enabled: true, bind: '127.0.0.1', port: b.port, advertise: `127.0.0.1:${door}` },
  });
  await a.sees('node-a healthy', 'node-b healthy');
  await b.sees('node-a healthy', 'node-b healthy');
});

afterAll(async () => {
  await b[Symbol.asyncDispose]();
  await a[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

/** What a logged of its peer from a moment on. */
function changesSince(node: TestNode, line: number): string[] {
  return node.daemon.lines.slice(line).flatMap(({ msg }) => /^peer (.*)/.exec(msg)?.[1] ?? []);
}

/** Until what is seen is also logged, and written into the table. */
async function settled(): Promise<void> {
  await a.sees('node-a healthy', 'node-b healthy');
  await Bun.sleep(1300);
}

async function auditedSince(node: TestNode, id: number, target: string): Promise<unknown[]> {
  const rows = await node.audit('node.status_changed', target);
  return rows
    .filter((row) => Number(row['id']) > id)
    .map(({ new_value }) => (new_value as Record<string, unknown>)['status']);
}

async function lastAudit(node: TestNode): Promise<number> {
  const [row] = await node.server.query('SELECT coalesce(max(id), 0)::int AS id FROM steep_repl.audit_log');
  return Number(row?.['id']);
}

describe('a peer', () => {
  test('that is killed is degraded, then unreachable, then healthy again: told and audited once each', async () => {
    await settled();
    const [line, id] = [a.daemon.lines.length, await lastAudit(a)];
    await b.daemon.kill();
    await a.sees('node-a healthy', 'node-b degraded');
    await a.sees('node-a healthy', 'node-b unreachable');
    const [seen] = await a.server.query(`SELECT last_seen FROM steep_repl.nodes WHERE node_id = 'node-b'`);
    const status = await a.cli(['status']);
    expect(status.code).toBe(4);
    expect(status.stdout).toMatch(/! node-b \(127\.0\.0\.1:\d+\) unreachable for \d+ s: /);
    await b.up();
    await a.sees('node-a healthy', 'node-b healthy');
    await waitFor(async () => (await auditedSince(a, id, 'node-b')).length >= 3, 'the audit rows');
    await Bun.sleep(500);
    // On a busy machine it may be heard before it has its PostgreSQL.
    const told = (changes: unknown[]): string =>
      changes.join(' ').replace('unreachable degraded healthy', 'unreachable healthy');
    expect(told(await auditedSince(a, id, 'node-b'))).toBe('degraded unreachable healthy');
    expect(told(changesSince(a, line))).toBe('degraded unreachable healthy');
    const silent = Number(seen!['last_seen']);
    await waitFor(async () => {
      const [row] = await a.server.query(`SELECT last_seen FROM steep_repl.nodes WHERE node_id = 'node-b'`);
      return Number(row!['last_seen']) > silent;
    }, 'last_seen to move again');
    await b.sees('node-a healthy', 'node-b healthy');
  });

  test('that stands still for a moment changes nothing', async () => {
    await settled();
    const line = a.daemon.lines.length;
    b.daemon.signal('SIGSTOP');
    await Bun.sleep(1200);
    b.daemon.signal('SIGCONT');
    await Bun.sleep(2500);
    expect(changesSince(a, line)).toEqual([]);
  });

  test('is not blamed for the time in which this daemon stood still', async () => {
    await settled();
    const line = a.daemon.lines.length;
    a.daemon.signal('SIGSTOP');
    await b.sees('node-a unreachable', 'node-b healthy');
    await Bun.sleep(500);
    const woke = Date.now();
    a.daemon.signal('SIGCONT');
    await b.sees('node-a healthy', 'node-b healthy');
    await settled();
    // What a busy machine keeps from it later is another silence.
    const blamed = a.daemon.lines
      .slice(line)
      .filter(({ msg, time }) => msg.startsWith('peer ') && Date.parse(time) < woke + 2000);
    expect(blamed).toEqual([]);
  });

  test('whose connection swallows everything is reached over a new one, before it would be unreachable', async () => {
    await settled();
    const line = a.daemon.lines.length;
    expect(proxy.swallow()).toBeGreaterThan(0);
    await Bun.sleep(6000);
    expect(changesSince(a, line)).not.toContain('unreachable');
    await a.sees('node-a healthy', 'node-b healthy');
  });

  test('whose PostgreSQL is away is degraded elsewhere, also for a node that starts meanwhile', async () => {
    await b.server.stop();
    await a.sees('node-a healthy', 'node-b degraded');
    const list = await a.cli(['nodes', 'list']);
    expect(list.stdout).toContain('degraded');
    await a.restart();
    await a.sees('node-a healthy', 'node-b degraded');
    await Bun.sleep(5000); // longer than unreachable_after
    expect(await a.nodes()).toEqual(['node-a healthy', 'node-b degraded']);
    await b.server.start();
    await a.sees('node-a healthy', 'node-b healthy');
  });
});

describe('health --remote', () => {
  async function asked(address: string, by: TestNode = a): Promise<{ code: number; text: string }> {
    const { code, stdout, stderr } = await by.cli(['health', '--remote', address]);
    return { code, text: stdout + stderr };
  }

  test('tells node, components, round trip and certificate of a healthy peer', async () => {
    const { code, text } = await asked(b.address);
    expect(code).toBe(0);
    expect(text).toMatch(/node-b[\s\S]*ms[\s\S]*CN=node-b[\s\S]*postgresql/);
  });

  test('may be asked a hundred times: no connection is left behind', async () => {
    const before = usageOf(b.daemon).fds;
    for (let i = 0; i < 100; i++) await a.ask('health.remote', { address: b.address });
    await waitFor(() => usageOf(b.daemon).fds <= before + 4, 'the connections to close', 5000);
  });

  test('says that nobody is there, and how to see that', async () => {
    const { code, text } = await asked(`127.0.0.1:${await freePort()}`);
    expect(code).toBe(7);
    expect(text).toContain('connection refused');
  });

  test('says that the other side is no gRPC port of a node', async () => {
    const strange = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end('SSH-2.0-OpenSSH_9.9\r\n');
    });
    await new Promise<void>((resolve) => strange.listen(0, '127.0.0.1', resolve));
    try {
      const { code, text } = await asked(`127.0.0.1:${(strange.address() as net.AddressInfo).port}`);
      expect(code).not.toBe(0);
      expect(text).toContain('is that the gRPC port of a node');
    } finally {
      strange.close();
    }
  });

  /** What it says of a server that presents this certificate. */
  async function saidOf(pems: Pems): Promise<{ code: number; text: string }> {
    const server = tls.createServer({ ...pems, requestCert: true, ALPNProtocols: ['h2'] }, (socket) => {
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      return await asked(`127.0.0.1:${(server.address() as net.AddressInfo).port}`);
    } finally {
      server.close();
    }
  }

  test('says for which hosts a certificate is when it is dialled by another name', async () => {
    const { code, text } = await saidOf(await (await Authority.of(a)).node('node-w', { host: 'db.example' }));
    expect(code).toBe(1);
    expect(text).toContain('its certificate is for DNS:db.example');
    expect(text).toContain('steep-repl tls issue');
  });

  test('says that a certificate expired, and since when', async () => {
    const notAfter = new Date(Date.now() - 3 * 86_400_000);
    const notBefore = new Date(Date.now() - 5 * 86_400_000);
    const { code, text } = await saidOf(
      await (await Authority.of(a)).node('node-w', { notBefore, notAfter }),
    );
    expect(code).toBe(1);
    expect(text).toMatch(/its certificate expired 3 days ago/);
  });

  test('says that a certificate was signed by another CA, or that ours is refused', async () => {
    const authority = await Authority.of(a);
    await using other = await TestNode.start('node-x');
    const foreign = await asked(other.address);
    expect(foreign.code).toBe(1);
    expect(foreign.text).toContain('another CA');
    placePems(a.certs, { ca: `${authority.cert}\n${other.pems.ca}` }); // now we trust it, and it does not trust us
    await waitFor(
      async () => /refuses our certificate/.test((await asked(other.address)).text),
      'the refusal',
    );
    placePems(a.certs, { ca: authority.cert });
  });
});
