/**
 * Makes certificates. Only commands import this: the X.509 library takes 50 ms and 20 MB to load, which the daemon has
 * no use for.
 */
import 'reflect-metadata'; // the library needs it and leaves it to us; it must come first
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { SteepError } from '../lib/errors.ts';
import { identityUri } from './identity.ts';
import { toPem } from './pem.ts';

/** A certificate and its private key (PKCS #8), both PEM. */
export interface Pair {
  cert: string;
  key: string;
}

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const LEAF_DAYS = 365;
/** Clocks differ: a certificate made here must be valid there at once. */
const CLOCK_SKEW_MS = 5 * 60_000;
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A CA that signs nodes and clients, and no other CA: 10 years. */
export async function makeCa(now = new Date()): Promise<Pair> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    // Two CAs must not have one name: TLS libraries look issuers up by it.
    name: `CN=steep-repl CA ${randomBytes(4).toString('hex')}`,
    serialNumber: newSerial(),
    notBefore: new Date(now.getTime() - CLOCK_SKEW_MS),
    notAfter: new Date(now.getTime() + CA_DAYS * DAY_MS),
    keys,
    signingAlgorithm: P256,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return await pairOf(certificate, keys);
}

/** A certificate to answer and to dial with as this node: 1 year. `hosts` are names and addresses. */
export async function issueNode(
  ca: Pair,
  { nodeId, hosts }: { nodeId: string; hosts: readonly string[] },
  now = new Date(),
): Promise<Pair> {
  return await issue(ca, now, {
    commonName: nodeId,
    names: [
      ...hosts.map((host) => ({ type: isIP(host) === 0 ? ('dns' as const) : ('ip' as const), value: host })),
      { type: 'url', value: identityUri({ kind: 'node', nodeId }) },
    ],
    usages: [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth],
  });
}

/** A certificate for an operator's tools, which can only dial: 1 year. */
export async function issueClient(ca: Pair, name: string, now = new Date()): Promise<Pair> {
  return await issue(ca, now, {
    commonName: name,
    names: [{ type: 'url', value: identityUri({ kind: 'client', name }) }],
    usages: [ExtendedKeyUsage.clientAuth],
  });
}

interface Leaf {
  commonName: string;
  names: JsonGeneralNames;
  usages: ExtendedKeyUsage[];
}

async function issue(ca: Pair, now: Date, { commonName, names, usages }: Leaf): Promise<Pair> {
  const issuer = new X509Certificate(ca.cert);
  const signer = await signingKey(createPrivateKey(ca.key));
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    subject: [{ CN: [commonName] }],
    issuer: issuer.subjectName,
    serialNumber: newSerial(),
    notBefore: latest(new Date(now.getTime() - CLOCK_SKEW_MS), issuer.notBefore),
    // None outlives its CA: it would fail at a date that it does not show.
    notAfter: earliest(new Date(now.getTime() + LEAF_DAYS * DAY_MS), issuer.notAfter),
    publicKey: keys.publicKey,
    signingKey: signer.key,
    signingAlgorithm: signer.algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(usages),
      new SubjectAlternativeNameExtension(names),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await issuerIdentifier(issuer),
    ],
  });
  return await pairOf(certificate, keys);
}

/** The identifier that the CA gave itself, which need not be the usual hash. */
async function issuerIdentifier(issuer: X509Certificate): Promise<Extension> {
  const own = issuer.getExtension(SubjectKeyIdentifierExtension);
  return own === null
    ? await AuthorityKeyIdentifierExtension.create(issuer.publicKey)
    : new AuthorityKeyIdentifierExtension(own.keyId);
}

const CURVES: Record<string, { namedCurve: string; hash: string }> = {
  prime256v1: { namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { namedCurve: 'P-521', hash: 'SHA-512' },
};

/** The CA's key in the form that the library signs with; ours are P-256, one that was brought along may differ. */
async function signingKey(
  key: KeyObject,
): Promise<{ key: CryptoKey; algorithm: { name: string; hash: string } }> {
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''];
  let algorithm;
  if (curve !== undefined) algorithm = { name: 'ECDSA', ...curve };
  else if (key.asymmetricKeyType === 'rsa') algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  else
    throw new SteepError('FAILED', `ca.key is a key of the kind ${key.asymmetricKeyType}`, {
      hint: 'tls issue signs with ECDSA (P-256, P-384, P-521) and RSA; use the tools of that CA',
    });
  const der = key.export({ type: 'pkcs8', format: 'der' });
  return { key: await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']), algorithm };
}

async function newKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
}

async function pairOf(certificate: X509Certificate, { privateKey }: CryptoKeyPair): Promise<Pair> {
  const key = await crypto.subtle.exportKey('pkcs8', privateKey);
  return {
    cert: toPem('CERTIFICATE', new Uint8Array(certificate.rawData)),
    key: toPem('PRIVATE KEY', new Uint8Array(key)),
  };
}

/** 128 bits, positive, and never with a leading zero that encodings could drop. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}

function earliest(a: Date, b: Date): Date {
  return a < b ? a : b;
}

function latest(a: Date, b: Date): Date {
  return a > b ? a : b;
}
