/**
 * Lists of revoked certificates. The handshake itself refuses what they name; it also refuses everybody when the list
 * of a CA is missing or out of date, as PostgreSQL does with ssl_crl_file. So that is found out here, beforehand.
 */
import { verify, type X509Certificate } from 'node:crypto';
import { DER_TAG, derElements, derTime } from './der.ts';
import { invalidityOf, rfc3339, spanOf } from './expiry.ts';
import { oneLine } from './facts.ts';
import { pemBlocks, toPem } from './pem.ts';

export interface Crl {
  /** Under the label that TLS libraries want. */
  pem: string;
  thisUpdate: Date;
  /** Undefined: it never gets old. */
  nextUpdate: Date | undefined;
  /** Serial numbers in hexadecimal, without leading zeros. */
  serials: string[];
  /** DER of the issuer's name. */
  issuer: Buffer;
  /** What was signed, by which algorithm (the bytes of its OID in hexadecimal). */
  signed: { bytes: Buffer; algorithm: string; signature: Buffer };
}

/** Of the CRLs in a PEM text; some tools write the label `CRL`. Throws when a block holds something else. */
export function crlsIn(text: string): Crl[] {
  return pemBlocks(text, 'X509 CRL', 'CRL').map(({ der }) => parseCrl(der));
}

/** RFC 5280 section 5.1: `[version], signature, issuer, thisUpdate, [nextUpdate], [revoked], [extensions]`. */
function parseCrl(der: Buffer): Crl {
  const [list, tail] = derElements(der);
  const [body, algorithm, signature] = derElements(list?.content ?? Buffer.alloc(0));
  if (body === undefined || algorithm === undefined || signature === undefined || tail !== undefined)
    throw new RangeError('not the three parts of a CRL');
  const fields = derElements(body.content);
  if (fields[0]?.tag === DER_TAG.integer) fields.shift();
  const [declared, issuer, first, ...optional] = fields;
  // RFC 5280 section 5.1.1.2: the algorithm stands inside and outside of what is signed, the same.
  if (!declared?.whole.equals(algorithm.whole)) throw new RangeError('a CRL that names two algorithms');
  const thisUpdate = derTime(first);
  if (issuer === undefined || thisUpdate === undefined) throw new RangeError('a CRL without issuer or date');
  const nextUpdate = derTime(optional[0]);
  const revoked = optional[nextUpdate === undefined ? 0 : 1];
  return {
    pem: toPem('X509 CRL', der),
    thisUpdate,
    nextUpdate,
    serials: revoked?.tag === DER_TAG.sequence ? derElements(revoked.content).map(serialOf) : [],
    issuer: issuer.whole,
    signed: {
      bytes: body.whole,
      algorithm: derElements(algorithm.content)[0]?.content.toString('hex') ?? '',
      signature: signature.content.subarray(1), // a BIT STRING begins with the number of unused bits
    },
  };
}

function serialOf({ content }: { content: Buffer }): string {
  return withoutZeros(derElements(content)[0]?.content.toString('hex') ?? '');
}

function withoutZeros(hex: string): string {
  return hex.toLowerCase().replace(/^0+(?=.)/, '');
}

/** By the OID's bytes. Whatever else a CA signs with is left to the handshake, and told by its name here. */
const HASHES: Record<string, string | null> = {
  '2a8648ce3d040302': 'sha256', // ECDSA
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2a864886f70d01010b': 'sha256', // RSA
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2b6570': null, // Ed25519 hashes by itself
};

/** Whether this CA made the list: by its signature where the algorithm is known, else by name. */
export function isCrlOf({ issuer, signed }: Crl, ca: X509Certificate): boolean {
  const hash = HASHES[signed.algorithm];
  if (hash === undefined) return subjectOf(ca.raw)?.equals(issuer) ?? false;
  try {
    return verify(hash, signed.bytes, ca.publicKey, signed.signature);
  } catch {
    return false; // a key of another kind
  }
}

/** DER of the subject: `[0] version, serial, signature, issuer, validity, subject, …` */
function subjectOf(certificate: Buffer): Buffer | undefined {
  const [body] = derElements(derElements(certificate)[0]?.content ?? Buffer.alloc(0));
  const fields = derElements(body?.content ?? Buffer.alloc(0));
  return fields[fields[0]?.tag === DER_TAG.integer ? 4 : 5]?.whole;
}

/**
 * Why the handshake would refuse too much, or ourselves; undefined when it would not. `chain` is our own, from the
 * leaf to the root.
 */
export function problemWithCrls(
  crls: readonly Crl[],
  chain: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  now: Date,
): string | undefined {
  for (const ca of new Set([...trusted, ...chain.slice(1)])) {
    const name = oneLine(ca.subject);
    const own = newestFirst(crls.filter((crl) => isCrlOf(crl, ca)));
    const [newest] = own;
    if (newest === undefined) return `holds no CRL of ${name}, so all that it issued would be refused`;
    if (!own.some((crl) => invalidityOf(crl.thisUpdate, crl.nextUpdate ?? now, now) === undefined))
      return `the CRL of ${name} ${outOfDate(newest, now)}, so all that it issued would be refused`;
    const revoked = chain.find(
      (certificate) =>
        certificate.checkIssued(ca) &&
        own.some(({ serials }) => serials.includes(withoutZeros(certificate.serialNumber))),
    );
    if (revoked !== undefined) return `revokes this node’s own certificate ${oneLine(revoked.subject)}`;
  }
  return undefined;
}

/** When the first of these CAs is without a current CRL, unless it gets a new one; undefined: never. */
export function expiryOfCrls(crls: readonly Crl[], cas: readonly X509Certificate[]): Date | undefined {
  return cas
    .flatMap((ca) => newestFirst(crls.filter((crl) => isCrlOf(crl, ca)))[0]?.nextUpdate ?? [])
    .toSorted((a, b) => a.getTime() - b.getTime())[0];
}

function newestFirst(crls: readonly Crl[]): Crl[] {
  return crls.toSorted((a, b) => b.thisUpdate.getTime() - a.thisUpdate.getTime());
}

function outOfDate({ thisUpdate, nextUpdate }: Crl, now: Date): string {
  if (nextUpdate !== undefined && nextUpdate < now)
    return `should have been replaced ${spanOf(now.getTime() - nextUpdate.getTime())} ago`;
  return `is not valid before ${rfc3339(thisUpdate)}`;
}
