/** What a certificate says, for people, status and decisions. */
import { X509Certificate } from 'node:crypto';
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
    sans: names.map(({ type, value }) => `${type === 'IP Address' ? 'IP' : type}:${value}`),
    serial: certificate.serialNumber,
    notBefore: certificate.validFromDate,
    notAfter: certificate.validToDate,
    fingerprint: certificate.fingerprint256,
    nodeId: identity?.kind === 'node' ? identity.nodeId : undefined,
  };
}

/** Of the certificate that the other side presented, verified or not; undefined without one. */
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
