/** The files of TLS one by one, each for itself: what `tls show` prints. How they fit together says `tls verify`. */
import { statSync } from 'node:fs';
import { codeOf, messageOf } from '../../lib/errors.ts';
import { readPlainFile } from '../../lib/plain-file.ts';
import type { Platform } from '../../platform/index.ts';
import { caKeyFile } from '../../tls/authority.ts';
import { crlsIn, isCrlOf } from '../../tls/crl.ts';
import { invalidityOf } from '../../tls/expiry.ts';
import { type CertificateFacts, certificatesIn, factsOf } from '../../tls/facts.ts';
import type { TlsFiles } from '../../tls/files.ts';

export interface CrlFacts {
  /** Undefined: of no CA in ca_file. */
  issuer: string | undefined;
  thisUpdate: Date;
  nextUpdate: Date | undefined;
  /** How many certificates it revokes. */
  revoked: number;
}

export interface FileFacts {
  file: string;
  kind: 'certificate' | 'key' | 'ca' | 'ca key' | 'crl';
  present: boolean;
  certificates: CertificateFacts[];
  crls: CrlFacts[];
  /** What is wrong with it. */
  problem: string | undefined;
}

export function describeFiles(files: TlsFiles, readers: Pick<Platform, 'readableByOthers'>): FileFacts[] {
  const caKey = caKeyFile(files.ca_file);
  return [
    describe('certificate', files.cert_file, certificates),
    describe('key', files.key_file, (file) => ({ problem: exposure(file, readers) })),
    describe('ca', files.ca_file, certificates),
    ...(isThere(caKey) ? [describe('ca key', caKey, (file) => ({ problem: exposure(file, readers) }))] : []),
    ...(files.crl_file === undefined
      ? []
      : [describe('crl', files.crl_file, (file) => ({ crls: crls(file, files.ca_file) }))]),
  ];
}

function describe(
  kind: FileFacts['kind'],
  file: string,
  look: (file: string) => Partial<FileFacts>,
): FileFacts {
  const nothing: FileFacts = { file, kind, present: true, certificates: [], crls: [], problem: undefined };
  try {
    if (!isThere(file)) return { ...nothing, present: false, problem: 'not there' };
    return { ...nothing, ...look(file) };
  } catch (error) {
    const denied = codeOf(error) === 'EACCES';
    return { ...nothing, problem: denied ? 'this user may not read it' : `damaged: ${messageOf(error)}` };
  }
}

function certificates(file: string): Partial<FileFacts> {
  const found = certificatesIn(readPlainFile(file)).map(factsOf);
  const now = new Date();
  const invalid = found.flatMap(({ notBefore, notAfter }) => invalidityOf(notBefore, notAfter, now) ?? []);
  return { certificates: found, problem: found.length === 0 ? 'holds no certificate (PEM)' : invalid[0] };
}

function crls(file: string, caFile: string): CrlFacts[] {
  const cas = certificatesIn(readPlainFile(caFile));
  return crlsIn(readPlainFile(file)).map((crl) => {
    const ca = cas.find((candidate) => isCrlOf(crl, candidate));
    const { thisUpdate, nextUpdate, serials } = crl;
    return { issuer: ca && factsOf(ca).subject, thisUpdate, nextUpdate, revoked: serials.length };
  });
}

function exposure(
  file: string,
  { readableByOthers }: Pick<Platform, 'readableByOthers'>,
): string | undefined {
  const exposed = readableByOthers(file);
  return exposed === undefined
    ? undefined
    : `others may read this key (${exposed.reason}):  ${exposed.remedy}`;
}

function isThere(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}
