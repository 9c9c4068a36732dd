/** The way from a certificate to a CA that is trusted, as the handshake will look for it. */
import type { X509Certificate } from 'node:crypto';
import { oneLine } from './facts.ts';

/** More than any CA has; ends a circle of certificates that issued each other. */
const MAX_LENGTH = 10;

export type Chain =
  | { ok: true; /** From the leaf to the root. */ certificates: X509Certificate[] }
  | { ok: false; problem: string };

/**
 * Looks among `sent` (what the peer would be sent beside the leaf) and `trusted` (ca_file). It must end at a
 * self-signed certificate of `trusted`: an intermediate CA alone is no anchor. Says nothing about dates.
 */
export function findChain(
  leaf: X509Certificate,
  sent: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
): Chain {
  const certificates = [leaf];
  let current = leaf;
  while (certificates.length < MAX_LENGTH) {
    if (isIssuedBy(current, current)) {
      if (trusted.some((ca) => ca.fingerprint256 === current.fingerprint256))
        return { ok: true, certificates };
      return { ok: false, problem: `leads to ${oneLine(current.subject)}, which is not in ca_file` };
    }
    const issuer = [...trusted, ...sent].find((candidate) => isIssuedBy(current, candidate));
    if (issuer === undefined) break;
    certificates.push(issuer);
    current = issuer;
  }
  return {
    ok: false,
    problem: `was issued by ${oneLine(current.issuer)}, which is neither in ca_file nor sent along`,
  };
}

export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    return false; // a key that is damaged, or of a kind that is not known here
  }
}
