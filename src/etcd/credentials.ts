/** With what a connection to etcd is made: where to, whom to trust, and who we are. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';
import type { Config } from '../config/schema.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import { requireHostPort } from '../lib/host-port.ts';
import type { Exposure, Platform } from '../platform/index.ts';

export type EtcdConfig = NonNullable<Config['election']['etcd']>;

/** `http://…` or `https://…` of an endpoint; without a scheme it is https as soon as a file for TLS is named. */
export function urlOf(endpoint: string, { ca_file: ca, cert_file: cert }: EtcdConfig): string {
  if (endpoint.includes('://')) return endpoint.replace(/\/+$/, '');
  return `${ca === undefined && cert === undefined ? 'http' : 'https'}://${endpoint}`;
}

/**
 * Read anew for each connection, so that files that were replaced are used without a restart. Throws CONFIG_INVALID
 * or PERMISSION_DENIED naming the file.
 */
export function tlsOptionsOf(
  url: string,
  config: EtcdConfig,
  platform: Pick<Platform, 'readableByOthers'>,
): ConnectionOptions | undefined {
  if (!url.startsWith('https://')) return undefined;
  const { host } = requireHostPort(url.slice('https://'.length));
  return {
    ...content('ca', config.ca_file),
    ...content('cert', config.cert_file),
    ...content('key', config.key_file, platform),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    servername: isIP(host) === 0 ? host : '',
    checkServerIdentity: (_hostname, certificate) => checkServerIdentity(host, certificate),
  };
}

function content(
  option: 'ca' | 'cert' | 'key',
  file: string | undefined,
  platform?: Pick<Platform, 'readableByOthers'>,
): ConnectionOptions {
  if (file === undefined) return {};
  let text: string;
  let exposed: Exposure | undefined;
  try {
    text = readFileSync(file, 'utf8');
    exposed = platform?.readableByOthers(file);
  } catch (error) {
    throw new SteepError('CONFIG_INVALID', `${file} cannot be read: ${messageOf(error)}`, {
      hint: `election.etcd.${option}_file of the configuration names it`,
      cause: error,
    });
  }
  if (exposed !== undefined)
    throw new SteepError('PERMISSION_DENIED', `${file}: others may read this key (${exposed.reason})`, {
      hint: exposed.remedy,
    });
  return { [option]: text };
}
