/**
 * What this node presents and trusts, checked as a whole before any handshake: a wrong file found here is a sentence;
 * found in a handshake it is a cluster whose nodes refuse each other.
 */
import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import type { Platform } from '../platform/index.ts';
import { findChain } from './chain.ts';
import { type Crl, crlsIn, expiryOfCrls, problemWithCrls } from './crl.ts';
import { invalidityOf } from './expiry.ts';
import { type CertificateFacts, certificatesIn, factsOf } from './facts.ts';
import { readTlsFiles, type TlsFileContents, type TlsFiles } from './files.ts';
import { contextOptions } from './options.ts';
import { toPem } from './pem.ts';

export type { CertificateFacts } from './facts.ts';
export type { TlsFiles } from './files.ts';

export interface TlsMaterial {
  /** PEM: this node's certificate, then those between it and the CA. */
  cert: string;
  key: string;
  /** PEM, one certificate at least. */
  ca: string;
  /** PEM, possibly several. */
  crl: string | undefined;
  /** Of this node. */
  certificate: CertificateFacts;
  /** From this node's certificate to the CA that it leads to. */
  chain: CertificateFacts[];
  /** The moment from which on an old CRL lets everybody be refused. */
  crlExpires: Date | undefined;
}

/**
 * Reads and checks all files; says which are missing when certificate, key or CA are not there (yet).
 * Throws CONFIG_INVALID or PERMISSION_DENIED with the file and the remedy.
 */
export function loadTlsMaterial(
  files: TlsFiles,
  platform: Pick<Platform, 'readableByOthers'>,
  now = new Date(),
): TlsMaterial | { missing: string[] } {
  const contents = readTlsFiles(files, platform);
  return 'missing' in contents ? contents : checkTlsFiles(contents, files, now);
}

/** The same for contents that were read already. */
export function checkTlsFiles(contents: TlsFileContents, files: TlsFiles, now = new Date()): TlsMaterial {
  const { cert_file: certFile, key_file: keyFile, ca_file: caFile, crl_file: crlFile } = files;
  if (contents.exposed !== undefined)
    throw invalid(
      `${keyFile}: others may read this key (${contents.exposed.reason})`,
      contents.exposed.remedy,
    );
  const [leaf, ...sent] = parsed(certFile, contents.cert, certificatesIn);
  const trusted = parsed(caFile, contents.ca, certificatesIn);
  if (leaf === undefined) throw empty(certFile, 'certificate');
  if (trusted.length === 0) throw empty(caFile, 'CA certificate');
  if (!isPair(leaf, privateKeyIn(keyFile, contents.key)))
    throw invalid(
      `${keyFile}: this key does not belong to the first certificate in ${certFile}`,
      'replace both by a pair; the node’s own certificate comes first, those of CAs after it',
    );
  const chain = findChain(leaf, sent, trusted);
  if (!chain.ok)
    throw invalid(
      `${certFile}: the certificate ${chain.problem}`,
      `put the root CA into ${caFile}, and CAs between into ${certFile} after the node’s certificate`,
    );
  for (const certificate of chain.certificates) refuseInvalid(certificate, trusted, files, now);
  refuseWrongUsage(leaf, certFile);
  const crls = crlFile === undefined ? [] : parsed(crlFile, contents.crl ?? '', crlsIn);
  if (crlFile !== undefined) refuseBadCrls(crlFile, crls, chain.certificates, trusted, now);

  const material: TlsMaterial = {
    cert: [leaf, ...sent].map(pemOf).join(''),
    key: contents.key,
    ca: trusted.map(pemOf).join(''),
    crl: crlFile === undefined ? undefined : crls.map(({ pem }) => pem).join(''),
    certificate: factsOf(leaf),
    chain: chain.certificates.map(factsOf),
    crlExpires: expiryOfCrls(crls, trusted),
  };
  tryOut(material, files);
  return material;
}

function parsed<T>(file: string, text: string, parse: (text: string) => T[]): T[] {
  try {
    return parse(text);
  } catch (error) {
    throw invalid(`${file} is damaged: ${messageOf(error)}`, 'replace it by an undamaged copy', error);
  }
}

function isPair(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch {
    return false; // the certificate's own key is damaged
  }
}

function privateKeyIn(file: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    if (codeOf(error) === 'ERR_MISSING_PASSPHRASE')
      throw invalid(
        `${file}: this key is encrypted, and nobody could type its passphrase at a start`,
        `openssl pkey -in ${file} -out PLAIN.key, with umask 077; then use that`,
        error,
      );
    throw invalid(`${file} holds no private key that can be used (PEM)`, 'replace it', error);
  }
}

function refuseInvalid(
  certificate: X509Certificate,
  trusted: readonly X509Certificate[],
  files: TlsFiles,
  now: Date,
): void {
  const { subject, notBefore, notAfter } = factsOf(certificate);
  const invalidity = invalidityOf(notBefore, notAfter, now);
  if (invalidity === undefined) return;
  const file = trusted.includes(certificate) ? files.ca_file : files.cert_file;
  const hint = invalidity.startsWith('expired')
    ? 'steep-repl tls init renews a certificate that it made; for one of another CA ask there'
    : 'is the clock of this machine right?  timedatectl';
  throw invalid(`${file}: the certificate ${subject} ${isOr(invalidity)}`, hint);
}

function isOr(invalidity: string): string {
  return invalidity.startsWith('expired') ? invalidity : `is ${invalidity}`;
}

const PURPOSES = { '1.3.6.1.5.5.7.3.1': 'serverAuth', '1.3.6.1.5.5.7.3.2': 'clientAuth' };

/** A node answers and dials with one certificate; one that names no purposes may be used for all. */
function refuseWrongUsage(leaf: X509Certificate, file: string): void {
  const usages: string[] | undefined = leaf.keyUsage; // in spite of its name the extended ones
  if (usages === undefined || usages.length === 0) return;
  const lacking = Object.entries(PURPOSES).filter(([oid]) => !usages.includes(oid));
  if (lacking.length === 0) return;
  throw invalid(
    `${file}: the certificate may not be used for ${lacking.map(([, name]) => name).join(' and ')}`,
    'a node needs the extended key usages serverAuth and clientAuth, both',
  );
}

function refuseBadCrls(
  file: string,
  crls: readonly Crl[],
  chain: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  now: Date,
): void {
  if (crls.length === 0) throw empty(file, 'CRL');
  const problem = problemWithCrls(crls, chain, trusted, now);
  if (problem !== undefined)
    throw invalid(`${file}: ${problem}`, 'get the newest CRLs of all CAs, and put them into this one file');
}

/** The last word has the library that will use them. */
function tryOut(material: TlsMaterial, files: TlsFiles): void {
  try {
    createSecureContext(contextOptions(material));
  } catch (error) {
    const among = [files.cert_file, files.key_file, files.ca_file, files.crl_file].filter(Boolean).join(', ');
    throw invalid(
      `one of ${among} cannot be used: ${messageOf(error)}`,
      'replace it by an undamaged copy',
      error,
    );
  }
}

function pemOf(certificate: X509Certificate): string {
  return toPem('CERTIFICATE', certificate.raw);
}

function empty(file: string, what: string): SteepError {
  return invalid(
    `${file} holds no ${what} in PEM form`,
    `it must contain -----BEGIN …-----; from DER:  openssl x509 -inform der -in ${file} -out NEW`,
  );
}

function invalid(message: string, hint: string, cause?: unknown): SteepError {
  return new SteepError('CONFIG_INVALID', message, { hint, cause });
}
