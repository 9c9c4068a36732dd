/** Nodes with certificates of one CA, each a real daemon beside a real PostgreSQL, and several ways to speak to them. */
import 'reflect-metadata';
import { setDefaultTimeout } from 'bun:test';
import { createPrivateKey } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import * as x509 from '@peculiar/x509';
import { steepReplCommand, type Outcome } from '../../support/cli.ts';
import { DaemonHome, type LogLine, type TestDaemon } from '../../support/daemon.ts';
import { freePort } from '../../support/ports.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { waitFor } from '../../support/wait.ts';

setDefaultTimeout(180_000);

export const root = path.join(import.meta.dir, '../../..');

export interface Issue {
  severity: string;
  message: string;
  hint: string | null;
}

/** PEM texts. */
export interface Pems {
  cert: string;
  key: string;
  ca: string;
}

export interface NodeOptions {
  /** The node whose CA signs; without one it makes a CA of its own. */
  ca?: TestNode;
  /** None: it has no certificates yet. */
  certificates?: false;
  join?: string[];
  /** Below `repl:`. */
  config?: Record<string, unknown>;
  /** Without PostgreSQL: a witness. */
  server?: TestPostgres;
}

export async function newServer(): Promise<TestPostgres> {
  const server = TestPostgres.create();
  server.useExtension();
  await server.start();
  await server.query('CREATE EXTENSION steep_repl');
  return server;
}

/** A node of a test: its PostgreSQL, its folder, and the daemon that runs at the moment. */
export class TestNode implements AsyncDisposable {
  readonly id: string;
  readonly port: number;
  readonly home: DaemonHome;
  readonly server: TestPostgres;
  private current: TestDaemon | undefined;
  private settings: Record<string, unknown>;

  private constructor(id: string, port: number, server: TestPostgres, options: NodeOptions) {
    this.id = id;
    this.port = port;
    this.server = server;
    this.settings = {
      grpc: { enabled: true, bind: '127.0.0.1', port, advertise: this.address },
      ...(options.join ? { cluster: { join: options.join } } : {}),
      ...options.config,
    };
    this.home = new DaemonHome(server, { nodeId: id, config: this.settings });
  }

  static async create(id: string, options: NodeOptions = {}): Promise<TestNode> {
    const [server, port] = await Promise.all([options.server ?? newServer(), freePort()]);
    const node = new TestNode(id, port, server, options);
    if (options.certificates === false) return node;
    const args = options.ca
      ? [
          'tls',
          'issue',
          id,
          '--host',
          '127.0.0.1,localhost',
          '--out',
          node.certs,
          '--config',
          options.ca.home.configFile,
        ]
      : ['tls', 'init', '--host', '127.0.0.1,localhost', '--config', node.home.configFile];
    const { code, stderr } = await node.cli(args, { plain: true });
    if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
    return node;
  }

  /** Creates it, starts it, and waits until it is connected and listens. */
  static async start(id: string, options: NodeOptions = {}): Promise<TestNode> {
    const node = await TestNode.create(id, options);
    await node.up();
    return node;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get certs(): string {
    return path.join(this.home.folder, 'certs');
  }

  get pems(): Pems {
    return readPems(this.certs);
  }

  get daemon(): TestDaemon {
    if (!this.current) throw new Error(`${this.id} was not started`);
    return this.current;
  }

  async up(): Promise<TestDaemon> {
    this.current = await this.home.connected();
    return this.current;
  }

  /** Starts it with other configuration. */
  async restart(changes: Record<string, unknown> = {}): Promise<TestDaemon> {
    if (this.current?.running) await this.current.stop();
    this.settings = { ...this.settings, ...changes };
    this.home.writeConfig(undefined, this.settings);
    return await this.up();
  }

  /** A command as an operator would give it on this node. */
  async cli(args: string[], options: { plain?: true } = {}): Promise<Outcome> {
    const own = options.plain ? args : [...args, '--config', this.home.configFile];
    const child = Bun.spawn([...steepReplCommand, ...own], {
      env: this.home.env(),
      cwd: this.home.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 90_000,
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  /** Asks the daemon through IPC. Throws what it refuses, as `CODE message`. */
  async ask<T>(method: string, params: object = {}): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = net.connect(this.home.socket);
    const limit = setTimeout(
      () => reject(new Error(`${this.id} did not answer ${method} within 20 s`)),
      20_000,
    );
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(text);
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the daemon closed the connection')));
    socket.write(`${JSON.stringify({ id: '1', method, params })}\n`);
    try {
      const { result, error } = JSON.parse(await promise) as {
        result: T;
        error: { code: string; message: string } | null;
      };
      if (error) throw new Error(`${error.code} ${error.message}`);
      return result;
    } finally {
      clearTimeout(limit);
      socket.destroy();
    }
  }

  /** `id status` of every node, as this one shows them. */
  async nodes(): Promise<string[]> {
    const { nodes } = await this.ask<{ nodes: { node_id: string; status: string }[] }>('nodes.list');
    return nodes.map(({ node_id, status }) => `${node_id} ${status}`);
  }

  /** Waits until it shows exactly these nodes, each `id status`. */
  async sees(...wanted: string[]): Promise<void> {
    let seen: string[] = [];
    await waitFor(
      async () => {
        seen = await this.nodes();
        return seen.join() === wanted.join();
      },
      `${this.id} to see ${wanted.join(', ')}`,
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it sees ${seen.join(', ')}; its log:\n${this.daemon.stderr}`);
    });
  }

  /** Waits until it knows this coordinator; the term. */
  async follows(coordinator: string): Promise<number> {
    let seen: { node_id: string | null; term: number | null } = { node_id: null, term: null };
    await waitFor(async () => {
      seen = await this.ask('coordinator.get');
      return seen.node_id === coordinator;
    }, `${this.id} to follow ${coordinator}`);
    return seen.term!;
  }

  /** Waits until it counts exactly these voters. */
  async counts(...wanted: string[]): Promise<void> {
    await waitFor(
      async () => (await this.ask<{ voters: string[] }>('coordinator.get')).voters.join() === wanted.join(),
      `${this.id} to count ${wanted.join(', ')}`,
    );
  }

  /** Waits until status shows exactly these issues. */
  async shows(...wanted: Issue[]): Promise<void> {
    let seen: Issue[] = [];
    await waitFor(
      async () => {
        seen = await this.issues();
        return JSON.stringify(seen) === JSON.stringify(wanted);
      },
      `${this.id} to show ${JSON.stringify(wanted)}`,
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it shows ${JSON.stringify(seen)}`);
    });
  }

  /** Issues as status shows them. */
  async issues(): Promise<Issue[]> {
    return (await this.ask<{ issues: Issue[] }>('status.get')).issues;
  }

  /** Rows of its audit trail, oldest first. */
  async audit(action: string, target?: string): Promise<Record<string, unknown>[]> {
    const rows = await this.server.query(
      `SELECT * FROM steep_repl.audit_log WHERE action = '${action}' ${target ? `AND target_id = '${target}'` : ''} ORDER BY id`,
    );
    return [...rows];
  }

  /** Lines of the log about refusals. */
  get refusals(): LogLine[] {
    return this.daemon.lines.filter(({ msg }) => msg === 'refused');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.home[Symbol.asyncDispose]();
    } finally {
      await this.server[Symbol.asyncDispose]();
    }
  }
}

export function readPems(folder: string): Pems {
  const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8');
  return { cert: read('node.crt'), key: read('node.key'), ca: read('ca.crt') };
}

/** Puts PEMs where a daemon looks for them, each file whole in one moment. */
export function placePems(folder: string, pems: Partial<Pems> & { crl?: string }): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const files = { cert: 'node.crt', key: 'node.key', ca: 'ca.crt', crl: 'crl.pem' } as const;
  for (const [what, name] of Object.entries(files)) {
    const text = pems[what as keyof typeof files];
    if (text === undefined) continue;
    const file = path.join(folder, name);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    chmodSync(`${file}.new`, 0o600);
    renameSync(`${file}.new`, file);
  }
}

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY = 86_400_000;
const USAGES = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  emailProtection: '1.3.6.1.5.5.7.3.4',
};

export interface LeafOptions {
  cn?: string;
  uri?: string;
  /** Instead of 127.0.0.1 and localhost. */
  host?: string;
  usages?: (keyof typeof USAGES)[];
  notBefore?: Date;
  notAfter?: Date;
  serial?: string;
}

/** A CA that signs what no command of ours would: by its own key, or by that of `tls init`. */
export class Authority {
  readonly cert: string;
  private readonly certificate: x509.X509Certificate;
  private readonly key: CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: CryptoKey) {
    this.certificate = certificate;
    this.cert = certificate.toString('pem');
    this.key = key;
  }

  static async create(name: string): Promise<Authority> {
    const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: EC,
      notBefore: new Date(Date.now() - DAY),
      notAfter: new Date(Date.now() + DAY),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Authority(certificate, keys.privateKey);
  }

  /** The one that `tls init` made on a node. */
  static async of(node: { certs: string; pems: Pick<Pems, 'ca'> }): Promise<Authority> {
    const pem = createPrivateKey(readFileSync(path.join(node.certs, 'ca.key'), 'utf8'));
    const pkcs8 = pem.export({ type: 'pkcs8', format: 'der' });
    const key = await crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), EC, true, ['sign']);
    return new Authority(new x509.X509Certificate(node.pems.ca), key);
  }

  async issue(options: LeafOptions = {}): Promise<Pems> {
    const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
    const names = [
      ...(options.host === undefined
        ? [
            { type: 'ip' as const, value: '127.0.0.1' },
            { type: 'dns' as const, value: 'localhost' },
          ]
        : [{ type: 'dns' as const, value: options.host }]),
      ...(options.uri === undefined ? [] : [{ type: 'url' as const, value: options.uri }]),
    ];
    const certificate = await x509.X509CertificateGenerator.create({
      ...(options.serial === undefined ? {} : { serialNumber: options.serial }),
      subject: `CN=${options.cn ?? 'somebody'}`,
      issuer: this.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.key,
      signingAlgorithm: EC,
      notBefore: options.notBefore ?? new Date(Date.now() - DAY),
      notAfter: options.notAfter ?? new Date(Date.now() + DAY),
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.ExtendedKeyUsageExtension(
          (options.usages ?? ['serverAuth', 'clientAuth']).map((one) => USAGES[one]),
        ),
        new x509.SubjectAlternativeNameExtension(names),
      ],
    });
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      cert: certificate.toString('pem'),
      key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
      ca: this.cert,
    };
  }

  /** One of a node, by the URI that the contract demands. */
  node(id: string, options: LeafOptions = {}): Promise<Pems> {
    return this.issue({ cn: id, uri: `steep-repl://node/${id}`, ...options });
  }

  async crl(...serials: string[]): Promise<string> {
    const crl = await x509.X509CrlGenerator.create({
      issuer: this.certificate.subject,
      thisUpdate: new Date(Date.now() - DAY),
      nextUpdate: new Date(Date.now() + DAY),
      signingAlgorithm: EC,
      signingKey: this.key,
      entries: serials.map((serialNumber) => ({
        serialNumber,
        revocationDate: new Date(Date.now() - DAY),
        reason: x509.X509CrlReason.keyCompromise, // without one the library writes what is no DER
      })),
    });
    return crl.toString('pem');
  }
}

export function serialOf({ cert }: Pick<Pems, 'cert'>): string {
  return new x509.X509Certificate(cert).serialNumber;
}

/** Answers of grpc-js, as the proto file names the fields. */
export type Answer = Record<string, unknown>;

type Callback = (error: grpc.ServiceError | null, answer: Answer) => void;
type Method = (
  request: object,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: Callback,
) => void;

const proto = grpc.loadPackageDefinition(
  loadSync(['steep/repl/v1/coordinator.proto', 'grpc/health/v1/health.proto'], {
    includeDirs: [path.join(root, 'proto')],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
  }),
) as unknown as {
  steep: { repl: { v1: { Coordinator: grpc.ServiceClientConstructor } } };
  grpc: { health: { v1: { Health: grpc.ServiceClientConstructor } } };
};

/** A peer of another make: @grpc/grpc-js, which knows nothing of ours but the proto files. */
export class GrpcPeer implements Disposable {
  readonly health: grpc.Client & { Watch(request: object): grpc.ClientReadableStream<{ status: string }> };
  private readonly coordinator: grpc.Client;

  constructor(node: Pick<TestNode, 'port'>, { cert, key, ca }: Pems) {
    const credentials = grpc.credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert));
    const options = {
      'grpc.ssl_target_name_override': 'localhost',
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_send_message_length': -1,
    };
    const target = `127.0.0.1:${node.port}`;
    this.coordinator = new proto.steep.repl.v1.Coordinator(target, credentials, options);
    this.health = new proto.grpc.health.v1.Health(
      target,
      credentials,
      options,
    ) as unknown as GrpcPeer['health'];
  }

  /** Throws a ServiceError, with `code` and `details`. */
  call(method: string, request: object = {}, deadline = 10_000): Promise<Answer> {
    const client = (method in this.coordinator ? this.coordinator : this.health) as unknown as Record<
      string,
      Method
    >;
    return new Promise((resolve, reject) => {
      client[method]!(request, new grpc.Metadata(), { deadline: Date.now() + deadline }, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  }

  /** `NOT_FOUND text`, or `OK`. */
  async status(method: string, request: object = {}, deadline?: number): Promise<string> {
    try {
      await this.call(method, request, deadline);
      return 'OK';
    } catch (error) {
      const { code, details } = error as grpc.ServiceError;
      // grpc-js decodes `%3A` of a message not at all, other clients do.
      return `${grpc.status[code]} ${decodeURIComponent(details)}`;
    }
  }

  [Symbol.dispose](): void {
    this.coordinator.close();
    this.health.close();
  }
}

export interface RawOptions {
  pems?: Partial<Pems> | undefined;
  /** From which address of loopback. */
  from?: string;
  secure?: tls.ConnectionOptions;
}

/** A bare TLS connection. Rejects when the handshake fails, or the server closes right after it. */
export async function rawTls(port: number, { pems, from, secure = {} }: RawOptions): Promise<tls.TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    ...(from === undefined ? {} : { localAddress: from }),
    ...pems,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
    ...secure,
  });
  socket.once('secureConnect', () => resolve());
  socket.on('error', reject);
  socket.once('close', () => reject(new Error('closed')));
  await promise;
  return socket;
}

/** An HTTP/2 connection without any library for RPC. */
export async function rawSession(port: number, options: RawOptions): Promise<http2.ClientHttp2Session> {
  const socket = await rawTls(port, options);
  socket.setMaxListeners(0);
  const session = http2.connect(`https://127.0.0.1:${port}`, { createConnection: () => socket });
  session.setMaxListeners(0);
  session.on('error', () => {});
  return session;
}

export interface RawAnswer {
  status: number;
  headers: http2.IncomingHttpHeaders;
  trailers: http2.IncomingHttpHeaders;
  body: Buffer;
}

/** One POST to a method of Coordinator, or to `Election/Vote`; throws when the stream or the connection ends without an answer. */
export function post(
  session: http2.ClientHttp2Session,
  method: string,
  contentType: string,
  body: Uint8Array | string,
  headers: http2.OutgoingHttpHeaders = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/steep.repl.v1.${method.includes('/') ? method : `Coordinator/${method}`}`,
      'content-type': contentType,
      ...headers,
    });
    const answer: RawAnswer = { status: 0, headers: {}, trailers: {}, body: Buffer.alloc(0) };
    const chunks: Buffer[] = [];
    stream.on('response', (got) => {
      answer.headers = got;
      answer.status = Number(got[':status']);
    });
    stream.on('trailers', (got) => (answer.trailers = got));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => {
      answer.body = Buffer.concat(chunks);
      if (answer.status === 0) reject(new Error('no answer'));
      else resolve(answer);
    });
    stream.setTimeout(15_000, () => reject(new Error('no answer within 15 s')));
    stream.end(body);
  });
}

/** A call in Connect's JSON from an address of loopback, on a connection of its own. */
export async function connectJson(
  port: number,
  method: string,
  request: object,
  options: RawOptions,
): Promise<{ status: number; answer: Answer }> {
  const session = await rawSession(port, options);
  try {
    const { status, body } = await post(session, method, 'application/json', JSON.stringify(request));
    return { status, answer: JSON.parse(body.toString()) as Answer };
  } finally {
    session.destroy();
  }
}

/** What a daemon holds: megabytes of memory, and open files. */
export function usageOf({ pid }: TestDaemon): { rss: number; fds: number } {
  const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  return { rss, fds: readdirSync(`/proc/${pid}/fd`).length };
}
