/** `tls init`: a CA, if there is none, and the certificate of this node; the command only prints what this did. */
import { X509Certificate } from 'node:crypto';
import path from 'node:path';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { readPlainFile } from '../lib/plain-file.ts';
import type { Platform } from '../platform/index.ts';
import { caKeyFile, lockAuthority, readAuthority } from './authority.ts';
import { type CertificateFacts, certificatesIn, factsOf, shortAddress } from './facts.ts';
import type { TlsFiles } from './files.ts';
import { issueNode, makeCa, type Pair } from './issue.ts';
import { makeFolder, refuseSharedFolder, type Owner, ownerOf, writeAuthority, writePair } from './store.ts';

export interface InitOptions {
  files: TlsFiles;
  nodeId: string;
  /** Names and addresses that the certificate is for in any case. */
  ownHosts: readonly string[];
  /** Further ones; undefined: those that the certificate had before. */
  hosts: readonly string[] | undefined;
  /** Its owner is the daemon's user, who has to read the key. */
  stateDir: string;
  platform: Platform;
}

export interface InitResult {
  ca: 'made' | 'kept';
  authority: CertificateFacts;
  certificate: CertificateFacts;
  /** Written, in this order. */
  wrote: string[];
}

/**
 * Throws CONFLICT when what lies there is not ours to replace, PERMISSION_DENIED, TIMEOUT (another one runs), and then
 * has changed nothing.
 */
export async function initTls(options: InitOptions): Promise<InitResult> {
  const { files, nodeId, ownHosts, hosts, stateDir, platform } = options;
  const { cert_file: certFile, key_file: keyFile, ca_file: caFile } = files;
  for (const file of [caFile, certFile, keyFile]) prepareFolder(path.dirname(file), platform);
  using _lock = await lockAuthority(caFile, platform);
  const present = readAuthority(caFile, platform);
  const before = ownCertificate(files, nodeId);
  const wrote: string[] = [];

  let authority: Pair;
  if (present === undefined) {
    authority = await makeCa();
    writeAuthority(caFile, authority);
    wrote.push(caKeyFile(caFile), caFile);
  } else {
    authority = present;
  }
  const names = new Set([...ownHosts, ...(hosts ?? hostsOf(before))].map(shortAddress));
  const pair = await issueNode(authority, { nodeId, hosts: [...names] });
  writePair({ cert: certFile, key: keyFile }, pair, keyOwner(keyFile, stateDir, platform));
  wrote.push(keyFile, certFile);
  return {
    ca: present === undefined ? 'made' : 'kept',
    authority: factsOf(new X509Certificate(authority.cert)),
    certificate: factsOf(new X509Certificate(pair.cert)),
    wrote,
  };
}

/** Open to others: the daemon's user reads certificates in it; keys have their own modes. */
function prepareFolder(folder: string, platform: Platform): void {
  makeFolder(folder, 0o755);
  refuseSharedFolder(folder, platform);
}

/** What `tls init` made here before; undefined: nothing. Throws CONFLICT for anything else. */
function ownCertificate(files: TlsFiles, nodeId: string): CertificateFacts | undefined {
  const { cert_file: certFile, key_file: keyFile } = files;
  const text = contentOf(certFile);
  if (text === undefined) {
    if (ownerOf(keyFile) === undefined) return undefined;
    throw new SteepError('CONFLICT', `${keyFile} is there, but not its certificate, ${certFile}`, {
      hint: 'a key that waits for a company CA’s answer is not written over: move it away first',
    });
  }
  const facts = factsIn(text);
  if (facts?.nodeId === nodeId) return facts;
  throw new SteepError(
    'CONFLICT',
    `${certFile} holds ${facts === undefined ? 'something' : `the certificate ${facts.subject}`} that tls init did not make for ${nodeId}`,
    { hint: `move ${certFile} and ${keyFile} away, or let grpc.tls point elsewhere` },
  );
}

function factsIn(text: string): CertificateFacts | undefined {
  try {
    const [first] = certificatesIn(text);
    return first && factsOf(first);
  } catch {
    return undefined; // not to be understood, so not to be replaced either
  }
}

function hostsOf(certificate: CertificateFacts | undefined): string[] {
  return (certificate?.sans ?? []).flatMap((san) => /^(?:DNS|IP):(.+)$/.exec(san)?.[1] ?? []);
}

/** Root makes certificates for a daemon that runs as somebody else. */
function keyOwner(keyFile: string, stateDir: string, platform: Platform): Owner | undefined {
  return platform.currentUser().privileged ? (ownerOf(keyFile) ?? ownerOf(stateDir)) : undefined;
}

function contentOf(file: string): string | undefined {
  try {
    return readPlainFile(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new SteepError('PERMISSION_DENIED', `${file} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
