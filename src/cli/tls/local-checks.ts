/** Whether this node's own files will do: what `tls verify` looks at before it dials anybody. */
import { X509Certificate } from 'node:crypto';
import { checkServerIdentity } from 'node:tls';
import { parseHostPort } from '../../lib/host-port.ts';
import { daysUntil, EXPIRY_WARNING_MS, rfc3339 } from '../../tls/expiry.ts';
import { identityOf, type IdentityRules } from '../../tls/identity.ts';
import type { TlsMaterial } from '../../tls/material.ts';
import { describeIdentity } from '../../tls/options.ts';
import type { CheckResult } from '../checks.ts';
import type { Local } from './local.ts';

export function rulesOf({ config }: Pick<Local, 'config'>): IdentityRules {
  return { identity: config.grpc.tls.identity, allow: config.cluster.allow };
}

export function checkMaterial(material: TlsMaterial, local: Local): CheckResult[] {
  const { subject, issuer } = material.certificate;
  const certificate = new X509Certificate(material.cert).toLegacyObject();
  return [
    result('files', 'ok', `${subject}, signed by ${issuer}`),
    checkIdentity(identityOf(certificate, rulesOf(local)), local),
    checkAddress(certificate, local),
    ...lifetimesOf(material).map(({ name, end }) => checkLifetime(name, end)),
  ];
}

function checkIdentity(identity: ReturnType<typeof identityOf>, { config }: Local): CheckResult {
  if (identity.kind === 'node' && identity.nodeId === config.node_id)
    return result('identity', 'ok', `node ${config.node_id}`);
  return result(
    'identity',
    'fail',
    `the certificate is of ${describeIdentity(identity)}, and this node is ${config.node_id}`,
    `it needs the URI steep-repl://node/${config.node_id}; or identity: cn and the id in cluster.allow`,
  );
}

function checkAddress(
  certificate: ReturnType<X509Certificate['toLegacyObject']>,
  { config }: Local,
): CheckResult {
  const host = parseHostPort(config.grpc.advertise)?.host ?? '';
  if (checkServerIdentity(host, certificate) === undefined)
    return result('address', 'ok', `for ${host} (grpc.advertise)`);
  return result(
    'address',
    'warn',
    `not for ${host} (grpc.advertise): peers that do not know this node yet will refuse it`,
    `steep-repl tls init --host ${host}`,
  );
}

function lifetimesOf({ chain, crlExpires }: TlsMaterial): { name: string; end: Date }[] {
  const certificates = chain.map(({ subject, notAfter }) => ({ name: subject, end: notAfter }));
  return crlExpires === undefined ? certificates : [...certificates, { name: 'CRL', end: crlExpires }];
}

export function checkLifetime(name: string, end: Date, now = new Date()): CheckResult {
  const message = `${name}: until ${rfc3339(end)} (${daysUntil(end, now)} days)`;
  if (end.getTime() - now.getTime() >= EXPIRY_WARNING_MS) return result('expiry', 'ok', message);
  return result('expiry', 'warn', message, 'renew it in time:  steep-repl tls init, or ask its CA');
}

export function result(
  name: string,
  status: CheckResult['status'],
  message: string,
  hint: string | null = null,
): CheckResult {
  return { name, status, message, hint };
}
