/**
 * What went wrong in a handshake, in words of a DBA. The TLS library tells its own findings about the peer by codes of
 * certificate verification, and the peer's findings about us by alerts.
 */
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { invalidityOf } from './expiry.ts';
import type { CertificateFacts } from './facts.ts';

export interface HandshakeContext {
  /** `host:port` of the other side. */
  address: string;
  /** Its certificate, where it could be had: then dates and names can be told. */
  peer?: CertificateFacts | undefined;
  /** Our own. */
  own?: CertificateFacts | undefined;
  now?: Date;
}

interface Explanation {
  code: 'FAILED' | 'CANNOT_CONNECT' | 'TIMEOUT';
  message: (context: HandshakeContext) => string;
  hint: string;
  /** Its certificate would tell more. */
  aboutPeer?: true;
}

const THERE = 'on that host:  steep-repl tls show';

/** About the peer's certificate. */
const ITS = (message: Explanation['message'], hint: string): Explanation => ({
  code: 'FAILED',
  message: (context) => `${context.address}: its certificate ${message(context)}`,
  hint,
  aboutPeer: true,
});
/** About ours, as far as the peer says. */
const OURS = (reason: string, hint: string): Explanation => ({
  code: 'FAILED',
  message: ({ address, own }) =>
    `${address} refuses our certificate${own === undefined ? '' : ` ${own.subject}`}: ${reason}`,
  hint,
});
const plain = (code: Explanation['code'], text: string, hint: string): Explanation => ({
  code,
  message: ({ address }) => `${address}: ${text}`,
  hint,
});

const ANOTHER_CA = ITS(
  ({ peer }) => `was signed by another CA${peer === undefined ? '' : ` (${peer.issuer})`}`,
  'compare the CAs of both hosts with steep-repl tls show; or put both CAs into each ca_file',
);
const DATES = (fallback: string, hint: string): Explanation =>
  ITS(({ peer, now = new Date() }) => {
    const invalidity = peer && invalidityOf(peer.notBefore, peer.notAfter, now);
    const text = invalidity ?? fallback;
    return text.startsWith('expired') ? text : `is ${text}`;
  }, hint);
const NO_TLS = plain(
  'FAILED',
  'the other side speaks no TLS',
  'is that the gRPC port of a node (grpc.port)?',
);
const OLD_TLS = plain('FAILED', 'the other side has no TLS 1.3', 'upgrade it; nothing older is allowed');
const NO_HTTP2 = plain(
  'FAILED',
  'the other side speaks no HTTP/2',
  'is that the gRPC port of a node (grpc.port)?',
);
const CRL_HINT = 'renew crl_file: it needs a current CRL of every CA';

/** By the code of an error, or the name of an alert. */
const EXPLANATIONS: Record<string, Explanation> = {
  // Our findings about the peer's certificate
  CERT_HAS_EXPIRED: DATES('expired', 'renew it there:  steep-repl tls init'),
  CERT_NOT_YET_VALID: DATES('not yet valid', 'compare the clocks of both hosts'),
  SELF_SIGNED_CERT_IN_CHAIN: ANOTHER_CA,
  DEPTH_ZERO_SELF_SIGNED_CERT: ANOTHER_CA,
  UNABLE_TO_GET_ISSUER_CERT: ANOTHER_CA,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ANOTHER_CA,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ANOTHER_CA,
  CERT_SIGNATURE_FAILURE: ANOTHER_CA,
  CERT_REVOKED: ITS(() => 'was revoked', 'issue it a new one:  steep-repl tls issue NODE'),
  INVALID_PURPOSE: ITS(
    () => 'may not be used for this',
    'nodes need the extended key usages serverAuth and clientAuth, clients clientAuth',
  ),
  INVALID_CA: ITS(() => 'was signed by a certificate that is no CA', THERE),
  UNABLE_TO_GET_CRL: ITS(() => 'comes from a CA of which we have no CRL', CRL_HINT),
  CRL_HAS_EXPIRED: ITS(() => 'cannot be checked: the CRL of its CA is out of date', CRL_HINT),
  CRL_NOT_YET_VALID: ITS(() => 'cannot be checked: the CRL of its CA is not yet valid', CRL_HINT),
  CRL_SIGNATURE_FAILURE: ITS(() => 'cannot be checked: the CRL has a wrong signature', CRL_HINT),
  ERR_TLS_CERT_ALTNAME_INVALID: ITS(
    ({ peer }) => `is for other hosts${peer === undefined ? '' : `: ${peer.sans.join(', ')}`}`,
    'issue it again with this name or address:  steep-repl tls issue NODE --host …',
  ),
  PEER_DID_NOT_RETURN_A_CERTIFICATE: plain(
    'FAILED',
    'came without a certificate',
    'give it one:  steep-repl tls issue --client NAME',
  ),
  // The peer's about ours
  CERTIFICATE_REQUIRED: plain(
    'FAILED',
    'demands a certificate, and we have sent none',
    'steep-repl tls verify',
  ),
  CERTIFICATE_EXPIRED: OURS('it has expired', 'steep-repl tls verify; compare the clocks of both hosts'),
  CERTIFICATE_REVOKED: OURS('it was revoked', 'steep-repl tls issue NODE, where the CA is'),
  UNKNOWN_CA: OURS('it does not know our CA', 'both sides need each other’s CA in ca_file'),
  BAD_CERTIFICATE: OURS('it does not say why', THERE),
  CERTIFICATE_UNKNOWN: OURS('it does not say why', THERE),
  UNSUPPORTED_CERTIFICATE: OURS('wrong kind or usage', 'nodes need serverAuth and clientAuth'),
  ACCESS_DENIED: OURS('access denied', 'see the log of the other side'),
  // No common language
  PROTOCOL_VERSION: OLD_TLS,
  UNSUPPORTED_PROTOCOL: OLD_TLS,
  HANDSHAKE_FAILURE: plain('FAILED', 'no common parameters of TLS', 'does the other side have TLS 1.3?'),
  NO_APPLICATION_PROTOCOL: NO_HTTP2,
  WRONG_VERSION_NUMBER: NO_TLS,
  UNEXPECTED_MESSAGE: NO_TLS,
  HTTP_REQUEST: NO_TLS,
  HTTPS_PROXY_REQUEST: NO_TLS,
  // No connection
  ECONNREFUSED: plain('CANNOT_CONNECT', 'connection refused', 'on that host:  steep-repl status'),
  ECONNRESET: plain(
    'CANNOT_CONNECT',
    'the connection was closed during the handshake; the other side speaks no TLS, or refuses us',
    'is that the gRPC port of a node? its log says why it refuses',
  ),
  ENOTFOUND: plain('CANNOT_CONNECT', 'no such host', 'is the name right, and known to the DNS of this host?'),
  EAI_AGAIN: plain('CANNOT_CONNECT', 'the name cannot be looked up now', 'is the DNS of this host working?'),
  EHOSTUNREACH: plain('CANNOT_CONNECT', 'no route to that host', 'is it on, and the network between?'),
  ENETUNREACH: plain('CANNOT_CONNECT', 'no route to that network', 'is this host’s network up?'),
  ETIMEDOUT: plain('TIMEOUT', 'no answer', 'is the host on, and a firewall between?'),
};

/** An error of a handshake or connection as ours; it may be wrapped in others (`cause`). Errors of ours stay. */
export function explainTlsError(error: unknown, context: HandshakeContext): SteepError {
  const known = lookUp(error);
  if (known instanceof SteepError) return known;
  if (known !== undefined)
    return new SteepError(known.code, known.message(context), { hint: known.hint, cause: error });
  return new SteepError('FAILED', `${context.address}: the TLS handshake failed: ${messageOf(error)}`, {
    cause: error,
  });
}

/** Whether the explanation gains by `peer`. */
export function isAboutPeer(error: unknown): boolean {
  const known = lookUp(error);
  return !(known instanceof SteepError) && known?.aboutPeer === true;
}

/** The outermost cause that means something to us. */
function lookUp(error: unknown): Explanation | SteepError | undefined {
  for (let inner = error, depth = 0; inner !== undefined && depth < 5; inner = causeOf(inner), depth += 1) {
    if (inner instanceof SteepError) return inner;
    const explanation = EXPLANATIONS[reasonOf(codeOf(inner))];
    if (explanation !== undefined) return explanation;
  }
  return undefined;
}

/** `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA` → `UNKNOWN_CA`: libraries put their own words before the reason. */
function reasonOf(code: string | undefined): string {
  return (code ?? '').replace(/^ERR_SSL_(?:(?:SSLV3|TLSV1|TLSV13)_ALERT_)?/, '');
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}
