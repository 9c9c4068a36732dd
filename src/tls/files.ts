/** The files of mutual TLS as they lie on disk, not yet looked into. */
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { readPlainFile } from '../lib/plain-file.ts';
import type { Exposure, Platform } from '../platform/index.ts';

/** Paths, named as below `grpc.tls` of the configuration. */
export interface TlsFiles {
  cert_file: string;
  key_file: string;
  ca_file: string;
  crl_file?: string | undefined;
}

export interface TlsFileContents {
  cert: string;
  key: string;
  ca: string;
  crl: string | undefined;
  /** Why others could read the key. */
  exposed: Exposure | undefined;
}

/**
 * The contents, or which of certificate, key and CA are not there (yet). Throws PERMISSION_DENIED for a file that may
 * not be read, CONFIG_INVALID for anything else, a CRL that is not there among it.
 */
export function readTlsFiles(
  files: TlsFiles,
  platform: Pick<Platform, 'readableByOthers'>,
): TlsFileContents | { missing: string[] } {
  const cert = contentOf(files.cert_file);
  const key = contentOf(files.key_file);
  const ca = contentOf(files.ca_file);
  if (cert === undefined || key === undefined || ca === undefined) {
    const found = { [files.cert_file]: cert, [files.key_file]: key, [files.ca_file]: ca };
    return { missing: Object.keys(found).filter((file) => found[file] === undefined) };
  }
  return { cert, key, ca, crl: crlOf(files.crl_file), exposed: exposure(files.key_file, platform) };
}

function crlOf(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const content = contentOf(file);
  if (content !== undefined) return content;
  throw new SteepError('CONFIG_INVALID', `${file} is not there`, {
    hint: 'get it from the CA, or remove grpc.tls.crl_file from the configuration',
  });
}

function contentOf(file: string): string | undefined {
  try {
    return readPlainFile(file);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'EACCES' || code === 'EPERM')
      throw new SteepError('PERMISSION_DENIED', `${file}: this user may not read it`, {
        hint: 'let it belong to the user of the daemon, or run this as that user',
        cause: error,
      });
    throw new SteepError('CONFIG_INVALID', `${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** The file may vanish between two looks; then the next one says so. */
function exposure(file: string, platform: Pick<Platform, 'readableByOthers'>): Exposure | undefined {
  try {
    return platform.readableByOthers(file);
  } catch (error) {
    return { reason: messageOf(error), remedy: `ls -l ${file}` };
  }
}
