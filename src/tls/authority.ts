/**
 * The CA on this host: `ca_file`, and beside it `ca.key`. It is made once; whatever else lies there is never written
 * over, because every certificate of the cluster hangs on it.
 */
import { createPrivateKey, type X509Certificate } from 'node:crypto';
import path from 'node:path';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { readPlainFile } from '../lib/plain-file.ts';
import type { Platform } from '../platform/index.ts';
import { invalidityOf } from './expiry.ts';
import { certificatesIn, factsOf } from './facts.ts';
import type { Pair } from './issue.ts';
import { toPem } from './pem.ts';

/** `ca.key` lies beside `ca_file`, whatever that is called. */
export function caKeyFile(caFile: string): string {
  return path.join(path.dirname(caFile), 'ca.key');
}

/**
 * The CA that can sign here; undefined if there is nothing at all. Throws CONFLICT when only a half is there or the
 * halves do not belong together, PERMISSION_DENIED when others may read the key or we may not.
 */
export function readAuthority(
  caFile: string,
  platform: Pick<Platform, 'readableByOthers'>,
  now = new Date(),
): Pair | undefined {
  const keyFile = caKeyFile(caFile);
  const ca = contentOf(caFile);
  const key = contentOf(keyFile);
  if (ca === undefined && key === undefined) return undefined;
  if (key === undefined)
    throw new SteepError('CONFLICT', `${caFile} is there, but not the key of that CA, ${keyFile}`, {
      hint: 'a company CA issues its certificates itself; a CA of steep-repl signs on the host where tls init made it:  steep-repl tls issue NODE',
    });
  if (ca === undefined)
    throw new SteepError('CONFLICT', `${keyFile} is there, but not its certificate, ${caFile}`, {
      hint: 'copy ca.crt back from any node of the cluster; if the CA has none yet, remove ca.key',
    });
  const exposed = platform.readableByOthers(keyFile);
  if (exposed !== undefined)
    throw new SteepError('PERMISSION_DENIED', `${keyFile}: others may read this key (${exposed.reason})`, {
      hint: `${exposed.remedy}; if somebody may have copied it, make a new CA`,
    });
  const certificate = certificateOfKey(ca, key, { caFile, keyFile });
  const { subject, notBefore, notAfter } = factsOf(certificate);
  const invalidity = invalidityOf(notBefore, notAfter, now);
  if (invalidity !== undefined)
    throw new SteepError('FAILED', `${caFile}: the CA ${subject} cannot sign: ${invalidity}`, {
      hint: 'docs/certificates.md, “A new CA”, tells how to change it without a stop',
    });
  return { cert: toPem('CERTIFICATE', certificate.raw), key };
}

/** `ca_file` may hold several CAs; one of them must be ours. */
function certificateOfKey(
  ca: string,
  key: string,
  { caFile, keyFile }: { caFile: string; keyFile: string },
): X509Certificate {
  let certificate;
  try {
    const privateKey = createPrivateKey(key);
    certificate = certificatesIn(ca).find((candidate) => candidate.checkPrivateKey(privateKey));
  } catch (error) {
    throw new SteepError('CONFLICT', `${caFile} or ${keyFile} is damaged: ${messageOf(error)}`, {
      hint: 'restore both from a backup',
      cause: error,
    });
  }
  if (certificate !== undefined) return certificate;
  throw new SteepError('CONFLICT', `${keyFile} belongs to no certificate in ${caFile}`, {
    hint: 'restore both from a backup, or move the key away if it is of another CA',
  });
}

function contentOf(file: string): string | undefined {
  try {
    return readPlainFile(file);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return undefined;
    const denied = code === 'EACCES' || code === 'EPERM';
    throw new SteepError(
      denied ? 'PERMISSION_DENIED' : 'FAILED',
      `${file} cannot be read: ${messageOf(error)}`,
      {
        cause: error,
        ...(denied ? { hint: 'run it as the user who made the CA' } : {}),
      },
    );
  }
}

const LOCK_LIMIT_MS = 10_000;

/** Two `tls init` at one moment must not make two CAs: one waits for the other. Throws TIMEOUT. */
export async function lockAuthority(
  caFile: string,
  platform: Pick<Platform, 'lockFile'>,
): Promise<Disposable> {
  const file = `${caKeyFile(caFile)}.lock`;
  const deadline = performance.now() + LOCK_LIMIT_MS;
  for (;;) {
    const lock = platform.lockFile(file);
    if (lock !== 'held') return { [Symbol.dispose]: lock.release };
    if (performance.now() > deadline)
      throw new SteepError('TIMEOUT', `${file} is held by another steep-repl tls init`, {
        hint: 'wait for it, or end it',
      });
    await Bun.sleep(20);
  }
}
