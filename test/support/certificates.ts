/** A certificate authority for tests, and what it signs: elliptic curves, valid for a day unless told otherwise. */
import 'reflect-metadata';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

export interface CertificateOptions {
  commonName?: string;
  /** Names and addresses that it is valid for. */
  dns?: string[];
  ip?: string[];
  uri?: string[];
  notBefore?: Date;
  notAfter?: Date;
}

export interface Certificate {
  cert: string;
  key: string;
}

export class CertificateAuthority {
  readonly cert: string;
  private readonly certificate: x509.X509Certificate;
  private readonly keys: CryptoKeyPair;

  private constructor(certificate: x509.X509Certificate, keys: CryptoKeyPair) {
    this.certificate = certificate;
    this.keys = keys;
    this.cert = certificate.toString('pem');
  }

  static async create(commonName = 'test CA'): Promise<CertificateAuthority> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${commonName}`,
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new CertificateAuthority(certificate, keys);
  }

  /** A certificate and its key, both PEM. */
  async issue(options: CertificateOptions = {}): Promise<Certificate> {
    const { commonName = 'test', dns = [], ip = [], uri = [] } = options;
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const names = [
      ...dns.map((value) => ({ type: 'dns' as const, value })),
      ...ip.map((value) => ({ type: 'ip' as const, value })),
      ...uri.map((value) => ({ type: 'url' as const, value })),
    ];
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${commonName}`,
      issuer: this.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: options.notBefore ?? new Date(Date.now() - DAY_MS),
      notAfter: options.notAfter ?? new Date(Date.now() + DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(false),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      ],
    });
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
    return { cert: certificate.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
  }
}

/** Writes PEM files, private ones by their mode; their absolute paths. */
export function writePems<Name extends string>(
  folder: string,
  pems: Record<Name, string>,
): Record<Name, string> {
  mkdirSync(folder, { recursive: true });
  const files = {} as Record<Name, string>;
  for (const name of Object.keys(pems) as Name[]) {
    files[name] = path.join(folder, name);
    writeFileSync(files[name], pems[name], { mode: 0o600 });
  }
  return files;
}
