/** The connections and calls of the RPC door: how many, from where, whether they live, and why one was refused. */
import http2 from 'node:http2';
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { Health } from '../gen/grpc/health/v1/health_pb.ts';
import { explainTlsError } from '../tls/explain.ts';
import { factsOfPeer } from '../tls/facts.ts';
import type { Refusals } from './refusals.ts';

const { NGHTTP2_CANCEL } = http2.constants;

/** Of one address, half-open handshakes included: one peer cannot take the places of all others. */
const MOST_OF_AN_ADDRESS = 64;
const MOST = 2048;
/** Calls at a time, also of one address: each holds memory until it ends, and one that watches never does. */
const MOST_CALLS_OF_AN_ADDRESS = 256;
const MOST_CALLS = 2048;
const KEEPALIVE_MS = 20_000;
const PONG_MS = 10_000;
/** For all of a request: whoever sends it drop by drop would hold its memory for ever. */
const REQUEST_MS = 20_000;
/** From then on for the answer, whether or not anybody reads it; watching health goes on. */
const ANSWER_MS = 60_000;
const WATCH = `/${Health.typeName}/${Health.method.watch.name}`;

export function addressOf(socket: Pick<Socket, 'remoteAddress'>): string {
  return socket.remoteAddress?.replace(/^::ffff:/, '') ?? 'unknown';
}

/** `CN=node-b, O=Example`, as far as the certificate has a subject. */
export function subjectOf(certificate: PeerCertificate): string {
  const subject: unknown = certificate.subject;
  if (typeof subject !== 'object' || subject === null) return 'without a subject';
  return Object.entries(subject)
    .map(([key, value]) => `${key}=${[value].flat().join('+')}`)
    .join(', ');
}

export class Connections {
  private readonly refusals: Refusals;
  private readonly sockets = new Set<Socket>();
  private readonly counts = new Counts();
  private readonly calls = new Counts();
  /** With the address of each. */
  private readonly sessions = new Map<http2.Http2Session, string>();

  constructor(server: http2.Http2Server | http2.Http2SecureServer, refusals: Refusals) {
    this.refusals = refusals;
    server.on('connection', (socket: Socket) => this.admit(socket));
    server.on('session', (session) => this.keep(session));
    // First of all listeners: Bun's own closes the socket, and with it goes the certificate.
    server.prependListener('tlsClientError', (error: Error, socket: TLSSocket) => this.failed(error, socket));
    server.on('unknownProtocol', (socket: TLSSocket) => {
      const address = addressOf(socket);
      const subject = subjectOf(socket.getPeerCertificate());
      this.refusals.report({ address, subject, reason: 'speaks no HTTP/2' });
      socket.destroy();
    });
    server.on('sessionError', () => {}); // a peer that misbehaves loses its session, and that is all
    server.on('error', () => {});
  }

  private admit(socket: Socket): void {
    const address = addressOf(socket);
    if (this.counts.of(address) >= MOST_OF_AN_ADDRESS || this.counts.total >= MOST) {
      this.refusals.report({ address, subject: undefined, reason: 'too many connections' });
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    this.counts.add(address);
    socket.once('close', () => {
      this.sockets.delete(socket);
      this.counts.remove(address);
    });
    socket.on('error', () => {}); // told by tlsClientError or by the session
  }

  /** Whether a call may begin. One that may not is answered with what every protocol takes for UNAVAILABLE. */
  admitCall(stream: http2.ServerHttp2Stream): boolean {
    const { session } = stream;
    const address = session && this.sessions.get(session);
    if (address === undefined || stream.destroyed) return true; // reset already: it ends by itself
    if (this.calls.of(address) >= MOST_CALLS_OF_AN_ADDRESS || this.calls.total >= MOST_CALLS) {
      const socket = session?.socket as Partial<TLSSocket> | undefined;
      const subject = socket?.encrypted ? subjectOf((socket as TLSSocket).getPeerCertificate()) : undefined;
      this.refusals.report({ address, subject, reason: 'too many calls at a time' });
      // Without a body: nobody might read it. What still comes of the request is thrown away.
      if (!stream.closed) stream.respond({ ':status': 503 }, { endStream: true });
      stream.resume();
      return false;
    }
    this.calls.add(address);
    stream.once('close', () => this.calls.remove(address));
    return true;
  }

  /** Says why a handshake failed, and whose it was if a certificate came at all. */
  private failed(error: Error, socket: TLSSocket): void {
    const address = addressOf(socket);
    this.refusals.report({
      address,
      subject: factsOfPeer(socket)?.subject,
      reason: explainTlsError(error, { address }).message,
    });
    socket.destroy();
  }

  private keep(session: http2.Http2Session): void {
    this.sessions.set(session, addressOf(session.socket));
    session.on('error', () => {});
    let pong = setTimeout(() => {}, 0);
    const ping = setInterval(() => {
      if (session.destroyed) return; // a ping would throw
      pong = setTimeout(() => session.destroy(), PONG_MS);
      session.ping(() => clearTimeout(pong));
    }, KEEPALIVE_MS);
    session.on('stream', (stream: http2.Http2Stream, headers: http2.IncomingHttpHeaders) => {
      const cancel = (): void => stream.close(NGHTTP2_CANCEL);
      let late = setTimeout(cancel, REQUEST_MS);
      stream.once('end', () => {
        clearTimeout(late);
        if (headers[':path'] !== WATCH && !stream.destroyed) late = setTimeout(cancel, ANSWER_MS);
      });
      stream.once('close', () => clearTimeout(late));
    });
    session.once('close', () => {
      clearInterval(ping);
      clearTimeout(pong);
      this.sessions.delete(session);
    });
  }

  /** Ends the connections whose certificate has one of these serial numbers (hexadecimal). */
  endRevoked(serials: ReadonlySet<string>): void {
    for (const [session, address] of this.sessions) {
      const certificate = (session.socket as TLSSocket).getPeerCertificate();
      const serial = (certificate.serialNumber ?? '').replace(/^0+/, '').toLowerCase();
      if (!serials.has(serial)) continue;
      this.refusals.report({
        address,
        subject: subjectOf(certificate),
        reason: 'its certificate was revoked',
      });
      session.destroy();
    }
  }

  /** Lets running calls end for `limit` milliseconds, then closes everything. */
  async end(limit: number): Promise<void> {
    for (const session of this.sessions.keys()) session.close();
    const deadline = performance.now() + limit;
    while (this.sessions.size > 0 && performance.now() < deadline) await Bun.sleep(10);
    for (const session of this.sessions.keys()) session.destroy();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** How many there are of each address, and of all. */
class Counts {
  total = 0;
  private readonly counts = new Map<string, number>();

  of(address: string): number {
    return this.counts.get(address) ?? 0;
  }

  add(address: string): void {
    this.counts.set(address, this.of(address) + 1);
    this.total += 1;
  }

  remove(address: string): void {
    const left = this.of(address) - 1;
    if (left > 0) this.counts.set(address, left);
    else this.counts.delete(address);
    this.total -= 1;
  }
}
