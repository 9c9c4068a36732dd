/** A list of revoked certificates by the CA that `tls init` made. */
import 'reflect-metadata';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as x509 from '@peculiar/x509';

const DAY = 86_400_000;
const EC = { name: 'ECDSA', namedCurve: 'P-256' } as const;

export async function makeCrl(folder: string, serials: string[]): Promise<string> {
  const ca = new x509.X509Certificate(readFileSync(path.join(folder, 'ca.crt'), 'utf8'));
  const key = createPrivateKey(readFileSync(path.join(folder, 'ca.key'), 'utf8'));
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const crl = await x509.X509CrlGenerator.create({
    issuer: ca.subject,
    thisUpdate: new Date(Date.now() - DAY),
    nextUpdate: new Date(Date.now() + 30 * DAY),
    signingAlgorithm: { ...EC, hash: 'SHA-256' },
    signingKey: await crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), EC, false, ['sign']),
    entries: serials.map((serialNumber) => ({
      serialNumber: serialNumber.padStart(8, '0'),
      revocationDate: new Date(Date.now() - DAY),
      reason: x509.X509CrlReason.keyCompromise, // without one the library writes what is no DER
    })),
  });
  return crl.toString('pem');
}
