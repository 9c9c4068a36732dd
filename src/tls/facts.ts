/** What a certificate says, for people, status and decisions. */
import { X509Certificate } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { parseAltNames } from './alt-names.ts';
import { identityOfClaims } from './identity.ts';
import { pemBlocks } from './pem.ts';

export interface CertificateFacts {
  /** `CN=node-a, O=Acme` */
  subject: string;
  issuer: string;
  /** `DNS:db1`, `IP:10.0.0.1`, `URI:steep-repl://node/node-a` */
  sans: string[];
  /** Hexadecimal. */
  serial: string;
  notBefore: Date;
  notAfter: Date;
  /** SHA-256, `AB:CD:…` */
  fingerprint: string;
  /** Of its URI, if it is a node's. */
  nodeId: string | undefined;
}

export function factsOf(certificate: X509Certificate): CertificateFacts {
  const names = parseAltNames(certificate.subjectAltName) ?? [];
  const identity = identityOfClaims(names);
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    sans: names.map(({ type, value }) =>
      type === 'IP Address' ? `IP:${shortAddress(value)}` : `${type}:${value}`,
    ),
    serial: certificate.serialNumber,
    notBefore: certificate.validFromDate,
    notAfter: certificate.validToDate,
    fingerprint: certificate.fingerprint256,
    nodeId: identity?.kind === 'node' ? identity.nodeId : undefined,
  };
}

/** `fe80::1` for `FE80:0:0:0:0:0:0:1`; anything but an IPv6 address as it is. */
export function shortAddress(host: string): string {
  return isIPv6(host) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}

/**
 * Of the certificate that the other side presented, verified or not; undefined without one. In `tlsClientError` of an
 * HTTP/2 server only a listener that was prepended sees it: http2's own destroys the socket.
 */
export function factsOfPeer(socket: Pick<TLSSocket, 'getPeerCertificate'>): CertificateFacts | undefined {
  // In spite of its type, empty or null when there is none.
  const certificate = socket.getPeerCertificate() as { raw?: Buffer } | null;
  return certificate?.raw && factsOf(new X509Certificate(certificate.raw));
}

/** The certificates of a PEM text in their order. Throws when a block holds something else. */
export function certificatesIn(text: string): X509Certificate[] {
  return pemBlocks(text, 'CERTIFICATE').map(({ der }) => new X509Certificate(der));
}

/** A distinguished name comes as one part a line. An empty one is legal. */
export function oneLine(name: string | undefined): string {
  return (name ?? '').trim().split('\n').join(', ');
}
