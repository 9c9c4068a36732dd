/**
 * Who a certificate speaks for. Its CA vouches for the URI `steep-repl://node/<node_id>` or
 * `steep-repl://client/<name>` among the alternative names; a company CA that cannot write one may use the common name,
 * for listed ids only, because it gives such names to many others.
 */
import type { PeerCertificate } from 'node:tls';
import { type AltName, parseAltNames } from './alt-names.ts';

export type Identity =
  | { kind: 'node'; nodeId: string }
  | { kind: 'client'; name: string }
  /** A certificate that the CA signed, but of nobody we know. `subject`: `CN=web1, O=Acme`; empty without one. */
  | { kind: 'unknown'; subject: string };

/** `grpc.tls.identity` and `cluster.allow`. */
export interface IdentityRules {
  identity: 'uri' | 'cn';
  allow: readonly string[] | undefined;
}

const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const CLIENT_NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;

export function isNodeId(text: string): boolean {
  return NODE_ID.test(text);
}

export function isClientName(text: string): boolean {
  return CLIENT_NAME.test(text);
}

export function identityUri(identity: Exclude<Identity, { kind: 'unknown' }>): string {
  return identity.kind === 'node'
    ? `steep-repl://node/${identity.nodeId}`
    : `steep-repl://client/${identity.name}`;
}

/**
 * From a peer's certificate as `getPeerCertificate()` gives it, `{}` (no certificate) included. Only after the
 * handshake has verified it: nothing here looks at signatures.
 */
export function identityOf(
  certificate: Partial<Pick<PeerCertificate, 'subject' | 'subjectaltname'>>,
  { identity, allow }: IdentityRules,
): Identity {
  const { subject, subjectaltname } = certificate;
  const unknown: Identity = { kind: 'unknown', subject: describeSubject(subject) };
  const names = parseAltNames(subjectaltname);
  if (names === undefined) return unknown;
  const claims = names.filter(isClaim);
  if (claims.length > 0) return identityOfClaims(claims) ?? unknown;
  const commonName = subject?.CN;
  const named = identity === 'cn' && typeof commonName === 'string' && allow?.includes(commonName);
  return named ? { kind: 'node', nodeId: commonName } : unknown;
}

/** Undefined unless exactly one of the names is a well-formed URI of ours. */
export function identityOfClaims(names: readonly AltName[]): Identity | undefined {
  const [claim, second] = names.filter(isClaim);
  if (claim === undefined || second !== undefined) return undefined;
  const [, kind, name = ''] = /^steep-repl:\/\/(node|client)\/(.*)$/s.exec(claim.value) ?? [];
  if (kind === 'node' && isNodeId(name)) return { kind, nodeId: name };
  if (kind === 'client' && isClientName(name)) return { kind, name };
  return undefined;
}

/** Also what is spelt almost right: it must not pass for a certificate without a claim. */
function isClaim({ type, value }: AltName): boolean {
  return type === 'URI' && /^\s*steep-repl:/i.test(value);
}

function describeSubject(subject: PeerCertificate['subject'] | undefined): string {
  return Object.entries(subject ?? {})
    .flatMap(([key, value]) => [value ?? []].flat().map((one) => `${key}=${one}`))
    .join(', ');
}
