/**
 * TLS between nodes, every option that matters in so many words: no default of Bun's, no environment variable
 * (NODE_TLS_REJECT_UNAUTHORIZED) and no forgotten field decides who gets in. setSecureContext() takes them whole, too:
 * what is left out there falls back to a default.
 */
import { constants } from 'node:crypto';
import {
  checkServerIdentity,
  type ConnectionOptions,
  type PeerCertificate,
  type SecureContextOptions,
  type TlsOptions,
} from 'node:tls';
import { isIP } from 'node:net';
import { SteepError } from '../lib/errors.ts';
import { type Identity, identityOf, type IdentityRules } from './identity.ts';
import type { TlsMaterial } from './material.ts';
import { pemBlocks, toPem } from './pem.ts';

/** What a server and a client share: own certificate, whom to trust, and TLS 1.3. */
export function contextOptions({ cert, key, ca, crl }: TlsMaterial): SecureContextOptions {
  return {
    cert,
    key,
    ca,
    // As a list: of several CRLs in one text only the first would be read.
    ...(crl === undefined
      ? {}
      : { crl: pemBlocks(crl, 'X509 CRL').map(({ label, der }) => toPem(label, der)) }),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // A resumed session is not verified again: a certificate could outlive its expiry by it.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

export type ServerTlsOptions = SecureContextOptions &
  Pick<TlsOptions, 'requestCert' | 'rejectUnauthorized' | 'ALPNProtocols' | 'handshakeTimeout'>;

/** For `http2.createSecureServer` and, whole, for its `setSecureContext`. */
export function serverTlsOptions(material: TlsMaterial): ServerTlsOptions {
  return {
    ...contextOptions(material),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    handshakeTimeout: 5000,
  };
}

export interface ExpectedPeer {
  /** Name or address that is dialled, without brackets. */
  host: string;
  /** Of a known peer: then it must be this one, whatever its host name. */
  nodeId?: string | undefined;
  /** Default: by URI. */
  rules?: IdentityRules | undefined;
}

/**
 * For `tls.connect` and `http2.connect`. On first contact the certificate must be for the host name, later for the node
 * id: addresses change, ids do not.
 */
export function clientTlsOptions(material: TlsMaterial, expected: ExpectedPeer): ConnectionOptions {
  return {
    ...contextOptions(material),
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    servername: isIP(expected.host) === 0 ? expected.host : '',
    checkServerIdentity: (_hostname, certificate) => checkPeer(certificate, expected),
  };
}

const BY_URI: IdentityRules = { identity: 'uri', allow: undefined };

/** Called for a certificate that is verified already; why it is not the expected one's. */
export function checkPeer(
  certificate: PeerCertificate,
  { host, nodeId, rules = BY_URI }: ExpectedPeer,
): SteepError | undefined {
  if (nodeId !== undefined) {
    const identity = identityOf(certificate, rules);
    if (identity.kind === 'node' && identity.nodeId === nodeId) return undefined;
    return new SteepError('FAILED', `${nodeId} answers as ${describeIdentity(identity)}`, {
      hint: `does ${host} belong to another node now, or were certificates swapped? on that host:  steep-repl tls show`,
    });
  }
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch === undefined) return undefined;
  const names = certificate.subjectaltname ?? 'no host at all';
  return new SteepError('FAILED', `${host}: its certificate is for ${names}`, {
    hint: `dial one of those names, or issue it again for this one:  steep-repl tls issue NODE --host ${host}`,
    cause: mismatch,
  });
}

/** `node-c`, `client alice`, `CN=web1, O=Acme`. */
export function describeIdentity(identity: Identity): string {
  if (identity.kind === 'node') return identity.nodeId;
  if (identity.kind === 'client') return `client ${identity.name}`;
  return identity.subject || 'nobody (a certificate without a name)';
}
