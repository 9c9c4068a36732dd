/** Certificates of every kind, good and bad, as other people's tools would make them. */
import 'reflect-metadata';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
  X509CrlReason,
} from '@peculiar/x509';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { thisPlatform } from '../../../src/platform/index.ts';
import type { TlsFiles } from '../../../src/tls/files.ts';
import { loadTlsMaterial, type TlsMaterial } from '../../../src/tls/material.ts';

export const DAY = 86_400_000;
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export interface Pair {
  cert: string;
  key: string;
}

export interface LeafOptions {
  /** Default: `CN=<node>`. */
  subject?: string;
  /** Adds `steep-repl://node/<node>`. */
  node?: string;
  /** Default: localhost and 127.0.0.1. */
  names?: JsonGeneralNames;
  /** Default: both. */
  usages?: string[];
  /** Days from now; default -1 and 100. */
  from?: number;
  until?: number;
  serial?: string;
  /** Does not say which key signed it. */
  anonymous?: boolean;
}

export const LOOPBACK: JsonGeneralNames = [
  { type: 'dns', value: 'localhost' },
  { type: 'ip', value: '127.0.0.1' },
];

let serials = 0x1000;

export class TestCa {
  readonly certificate: X509Certificate;
  private readonly keys: CryptoKeyPair;

  private constructor(certificate: X509Certificate, keys: CryptoKeyPair) {
    this.certificate = certificate;
    this.keys = keys;
  }

  static async make(
    name: string,
    options: { by?: TestCa; from?: number; until?: number } = {},
  ): Promise<TestCa> {
    const keys = await newKeys();
    const { by, from = -2, until = 200 } = options;
    const certificate = await X509CertificateGenerator.create({
      serialNumber: (serials++).toString(16),
      subject: `CN=${name}`,
      issuer: by?.certificate.subject ?? `CN=${name}`,
      notBefore: inDays(from),
      notAfter: inDays(until),
      signingAlgorithm: P256,
      publicKey: keys.publicKey,
      signingKey: (by?.keys ?? keys).privateKey,
      extensions: [
        new BasicConstraintsExtension(true, by === undefined ? 1 : 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new TestCa(certificate, keys);
  }

  /** Somebody who signs with a certificate that need not be a CA’s. */
  static async abuse({ cert, key }: Pair): Promise<TestCa> {
    const certificate = new X509Certificate(cert);
    const der = PemConverter.decodeFirst(key);
    const privateKey = await crypto.subtle.importKey('pkcs8', der, P256, true, ['sign']);
    return new TestCa(certificate, { privateKey, publicKey: await certificate.publicKey.export() });
  }

  get pem(): string {
    return `${this.certificate.toString('pem')}\n`;
  }

  async key(): Promise<string> {
    return await keyPem(this.keys);
  }

  async issue(options: LeafOptions): Promise<Pair> {
    const { node, usages = [SERVER_AUTH, CLIENT_AUTH], from = -1, until = 100 } = options;
    const names = [
      ...(options.names ?? LOOPBACK),
      ...(node === undefined ? [] : [{ type: 'url' as const, value: `steep-repl://node/${node}` }]),
    ];
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.create({
      serialNumber: options.serial ?? (serials++).toString(16),
      subject: options.subject ?? `CN=${node ?? 'nobody'}`,
      issuer: this.certificate.subject,
      notBefore: inDays(from),
      notAfter: inDays(until),
      signingAlgorithm: P256,
      publicKey: keys.publicKey,
      signingKey: this.keys.privateKey,
      extensions: [
        ...(usages.length === 0 ? [] : [new ExtendedKeyUsageExtension(usages)]),
        new SubjectAlternativeNameExtension(names),
        ...(options.anonymous ? [] : [await AuthorityKeyIdentifierExtension.create(this.keys.publicKey)]),
      ],
    });
    return { cert: `${certificate.toString('pem')}\n`, key: await keyPem(keys) };
  }

  /** A CRL under the label `CRL`, as this library writes it. */
  async crl(serialNumbers: string[], options: { from?: number; until?: number } = {}): Promise<string> {
    const crl = await X509CrlGenerator.create({
      issuer: this.certificate.subject,
      thisUpdate: inDays(options.from ?? -1),
      nextUpdate: inDays(options.until ?? 7),
      signingAlgorithm: P256,
      signingKey: this.keys.privateKey,
      entries: serialNumbers.map((serialNumber) => ({
        serialNumber,
        revocationDate: inDays(-0.5),
        reason: X509CrlReason.keyCompromise, // without one the library writes an empty list, which is no DER
      })),
    });
    return `${crl.toString('pem')}\n`;
  }
}

export function serialOf(pair: Pair): string {
  return new X509Certificate(pair.cert).serialNumber.toUpperCase();
}

/** A temporary folder for the files of one node; removed when disposed. */
export class NodeFolder implements Disposable {
  readonly path = mkdtempSync(path.join(tmpdir(), 'tls-'));
  readonly files: TlsFiles = {
    cert_file: path.join(this.path, 'node.crt'),
    key_file: path.join(this.path, 'node.key'),
    ca_file: path.join(this.path, 'ca.crt'),
  };

  write(name: string, text: string, mode = 0o600): string {
    const file = path.join(this.path, name);
    writeFileSync(file, text, { mode });
    chmodSync(file, mode);
    return file;
  }

  /** Writes the three files, and crl.pem if there is one; the files for `loadTlsMaterial`. */
  install(pair: Pair, ca: string, crl?: string): TlsFiles {
    this.write('node.crt', pair.cert);
    this.write('node.key', pair.key);
    this.write('ca.crt', ca);
    return crl === undefined ? this.files : { ...this.files, crl_file: this.write('crl.pem', crl) };
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Material as the daemon would load it. */
export function materialOf(pair: Pair, ca: string, crl?: string): TlsMaterial {
  using folder = new NodeFolder();
  return loaded(folder.install(pair, ca, crl));
}

export function loaded(files: TlsFiles, now?: Date): TlsMaterial {
  const material = loadTlsMaterial(files, thisPlatform(), now);
  if ('missing' in material) throw new Error(`missing: ${material.missing.join(', ')}`);
  return material;
}

/** The openssl of this machine; tests that need one are skipped without it, and say so. */
export const openssl = Bun.which('openssl');
if (openssl === null) console.log('skipping what needs the openssl command: there is none');

export function runOpenssl(folder: string, ...args: string[]): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync([openssl ?? 'openssl', ...args], {
    cwd: folder,
    stdin: 'ignore',
  });
  if (exitCode !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr.toString()}${stdout.toString()}`);
  return stdout.toString();
}

async function newKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
}

async function keyPem({ privateKey }: CryptoKeyPair): Promise<string> {
  return `${PemConverter.encode(await crypto.subtle.exportKey('pkcs8', privateKey), 'PRIVATE KEY')}\n`;
}

function inDays(days: number): Date {
  return new Date(Date.now() + days * DAY);
}
