/** The connections of the RPC door: how many, from where, whether they still live, and why one was refused. */
import http2 from 'node:http2';
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { explainTlsError } from '../tls/explain.ts';
import { factsOfPeer } from '../tls/facts.ts';
import type { Refusals } from './refusals.ts';

const { NGHTTP2_CANCEL } = http2.constants;

/** Of one address, half-open handshakes included: one peer cannot take the places of all others. */
const MOST_OF_AN_ADDRESS = 64;
const MOST = 2048;
const KEEPALIVE_MS = 20_000;
const PONG_MS = 10_000;
/** For all of a request: whoever sends it drop by drop would hold its memory for ever. */
const REQUEST_MS = 20_000;

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
  private readonly counts = new Map<string, number>();
  private readonly sessions = new Set<http2.Http2Session>();

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
    const ofAddress = this.counts.get(address) ?? 0;
    if (ofAddress >= MOST_OF_AN_ADDRESS || this.sockets.size >= MOST) {
      this.refusals.report({ address, subject: undefined, reason: 'too many connections' });
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    this.counts.set(address, ofAddress + 1);
    socket.once('close', () => {
      this.sockets.delete(socket);
      const left = (this.counts.get(address) ?? 1) - 1;
      if (left === 0) this.counts.delete(address);
      else this.counts.set(address, left);
    });
    socket.on('error', () => {}); // told by tlsClientError or by the session
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
    this.sessions.add(session);
    session.on('error', () => {});
    let pong = setTimeout(() => {}, 0);
    const ping = setInterval(() => {
      if (session.destroyed) return; // a ping would throw
      pong = setTimeout(() => session.destroy(), PONG_MS);
      session.ping(() => clearTimeout(pong));
    }, KEEPALIVE_MS);
    session.on('stream', (stream: http2.Http2Stream) => {
      const late = setTimeout(() => stream.close(NGHTTP2_CANCEL), REQUEST_MS);
      for (const event of ['end', 'close']) stream.once(event, () => clearTimeout(late));
    });
    session.once('close', () => {
      clearInterval(ping);
      clearTimeout(pong);
      this.sessions.delete(session);
    });
  }

  /** Ends the connections whose certificate has one of these serial numbers (hexadecimal). */
  endRevoked(serials: ReadonlySet<string>): void {
    for (const session of this.sessions) {
      const certificate = (session.socket as TLSSocket).getPeerCertificate();
      const serial = (certificate.serialNumber ?? '').replace(/^0+/, '').toLowerCase();
      if (!serials.has(serial)) continue;
      const address = addressOf(session.socket);
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
    for (const session of this.sessions) session.close();
    const deadline = performance.now() + limit;
    while (this.sessions.size > 0 && performance.now() < deadline) await Bun.sleep(10);
    for (const session of this.sessions) session.destroy();
    for (const socket of this.sockets) socket.destroy();
  }
}
