/** Asks a peer how it is, with the certificates of this daemon: operators need not read its key. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { HealthCheckResponse_ServingStatus as ServingStatus } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { SteepError } from '../lib/errors.ts';
import type { HostPort } from '../lib/host-port.ts';
import type { RemoteCertificate, RemoteHealth } from '../operations/remote-health.ts';
import { PeerClient } from '../rpc/client.ts';
import type { CertificateFacts } from '../tls/facts.ts';
import { handshake } from '../tls/handshake.ts';
import type { IdentityRules } from '../tls/identity.ts';
import type { TlsMaterial } from '../tls/material.ts';

const DEADLINE_MS = 5000;

/** Throws CANNOT_CONNECT, TIMEOUT, FAILED for a certificate, with a hint; NOT_CONNECTED without one of our own. */
export async function remoteHealth(
  address: HostPort,
  material: TlsMaterial | 'insecure' | undefined,
  rules: IdentityRules,
): Promise<RemoteHealth> {
  if (material === undefined)
    throw new SteepError('NOT_CONNECTED', 'this daemon has no certificates for calls to other nodes', {
      hint: 'steep-repl tls init',
    });
  const own = material === 'insecure' ? undefined : material;
  // A handshake of its own: it tells more of a refusal than a failed call, and shows the certificate.
  const shaken = own && (await handshake({ ...address, material: own, rules }));
  const client = new PeerClient({ address, material: own, rules, nodeId: undefined });
  try {
    const ask = () =>
      client.call(
        ({ coordinator }, options) => coordinator.healthCheck({ service: '' }, options),
        DEADLINE_MS,
      );
    await ask(); // the handshake is not what is measured
    const began = performance.now();
    const answer = await ask();
    const latency = performance.now() - began;
    return {
      status: statuses[answer.status] ?? 'unknown',
      components: Object.fromEntries(
        Object.entries(answer.components).map(([name, { healthy, status, message }]) => [
          name,
          { healthy, status, message },
        ]),
      ),
      node_id: answer.nodeId,
      node_name: answer.nodeName,
      version: answer.version,
      uptime_since: answer.uptimeSince ? timestampDate(answer.uptimeSince).toISOString() : null,
      latency_ms: Math.round(latency * 100) / 100,
      certificate: shaken ? certificateOf(shaken.peer) : null,
    };
  } finally {
    client.close();
  }
}

const statuses: Record<ServingStatus, RemoteHealth['status']> = {
  [ServingStatus.UNKNOWN]: 'unknown',
  [ServingStatus.SERVING]: 'healthy',
  [ServingStatus.NOT_SERVING]: 'unhealthy',
};

function certificateOf({ subject, sans, issuer, serial, notAfter }: CertificateFacts): RemoteCertificate {
  return { subject, sans, issuer, serial, not_after: notAfter.toISOString() };
}
