/** What the commands of `tls` share: the configuration, its files, and how certificates are shown. */
import { statSync } from 'node:fs';
import { type LoadedConfig, loadConfig } from '../../config/load.ts';
import { isHost } from '../../lib/host-port.ts';
import { SteepError } from '../../lib/errors.ts';
import { type Platform, thisPlatform } from '../../platform/index.ts';
import { daysUntil, EXPIRY_WARNING_MS, rfc3339 } from '../../tls/expiry.ts';
import type { CertificateFacts } from '../../tls/facts.ts';
import type { TlsFiles } from '../../tls/files.ts';
import { colour } from '../format.ts';

export const hostArg = {
  type: 'string',
  description: 'Names and addresses under which peers reach the node, separated by commas',
  valueHint: 'HOST,…',
} as const;

export interface Local {
  config: LoadedConfig['config'];
  files: TlsFiles;
  platform: Platform;
}

export function readLocal(path: string | undefined): Local {
  const platform = thisPlatform();
  const { config } = loadConfig({ path, env: process.env, platform });
  return { config, files: config.grpc.tls, platform };
}

/**
 * Who could read a key besides its owner. Root looks at keys of other users, the daemon's among them, and to `platform`
 * those would belong to a stranger.
 */
export function keyReaders(platform: Platform): Pick<Platform, 'readableByOthers'> {
  const { privileged, uid } = platform.currentUser();
  if (!privileged || uid === undefined) return platform; // without user ids there are no modes
  return {
    readableByOthers: (file) => platform.readableByOthers(file, statSync(file).uid),
  };
}

/** The list of `--host`; undefined if it was not given. Throws INVALID_REQUEST. */
export function hostsFrom(option: string | undefined): string[] | undefined {
  return option?.split(',').map((word) => {
    const host = word.trim().replace(/^\[(.+)\]$/, '$1');
    if (isHost(host)) return host.replace(/\.$/, '');
    throw new SteepError('INVALID_REQUEST', `--host: ${JSON.stringify(word)} is no host name or address`, {
      hint: '--host db1.example.com,10.0.0.1',
    });
  });
}

export function certificateJson(facts: CertificateFacts, now = new Date()): Record<string, unknown> {
  return {
    subject: facts.subject,
    sans: facts.sans,
    issuer: facts.issuer,
    serial: facts.serial,
    not_before: rfc3339(facts.notBefore),
    not_after: rfc3339(facts.notAfter),
    days_left: daysUntil(facts.notAfter, now),
    fingerprint: facts.fingerprint,
    node_id: facts.nodeId ?? null,
  };
}

/** `2027-01-31T00:00:00Z (364 days)`, yellow from 30 days before, red when it is over. */
export function untilText(date: Date, now = new Date()): string {
  const left = date.getTime() - now.getTime();
  if (left < 0) return colour('red', `${rfc3339(date)} (expired)`);
  const text = `${rfc3339(date)} (${daysUntil(date, now)} days)`;
  return left < EXPIRY_WARNING_MS ? colour('yellow', text) : text;
}
