/** One handshake with a node, to see whether it works and whose certificate answers. */
import { connect, type TLSSocket } from 'node:tls';
import { codeOf, SteepError } from '../lib/errors.ts';
import { formatHostPort } from '../lib/host-port.ts';
import { explainTlsError, isAboutPeer } from './explain.ts';
import { type CertificateFacts, factsOfPeer } from './facts.ts';
import { type Identity, identityOf, type IdentityRules } from './identity.ts';
import type { TlsMaterial } from './material.ts';
import { clientTlsOptions } from './options.ts';

export interface HandshakeTarget {
  host: string;
  port: number;
  material: TlsMaterial;
  /** Whom to expect; without it the host name is checked. */
  nodeId?: string | undefined;
  rules: IdentityRules;
  /** Milliseconds for all of it; default 5000. */
  limit?: number;
}

export interface Handshake {
  peer: CertificateFacts;
  identity: Identity;
  /** `TLSv1.3` */
  protocol: string;
  /** Milliseconds until the other side had accepted us. */
  latency: number;
}

/** The client's first words in HTTP/2 and an empty SETTINGS frame: whoever accepts us answers them. */
const HELLO = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/**
 * Connects, waits for the first words of HTTP/2 (in TLS 1.3 a client learns only after its own handshake that it was
 * refused), and closes. Throws what was wrong, explained; TIMEOUT after `limit`, CANNOT_CONNECT if nobody is there.
 */
export async function handshake(target: HandshakeTarget): Promise<Handshake> {
  const { host, port, material, nodeId, rules, limit = 5000 } = target;
  const address = formatHostPort({ host, port });
  const deadline = AbortSignal.timeout(limit);
  const started = performance.now();
  const socket = connect({ ...clientTlsOptions(material, { host, nodeId, rules }), host, port });
  try {
    await accepted(socket, address, deadline);
    const peer = factsOfPeer(socket);
    if (peer === undefined) throw new SteepError('FAILED', `${address} presents no certificate`);
    return {
      peer,
      identity: identityOf(socket.getPeerCertificate(), rules),
      protocol: socket.getProtocol() ?? '',
      latency: performance.now() - started,
    };
  } catch (error) {
    if (error instanceof SteepError) throw error;
    const peer = isAboutPeer(error) ? await presentedCertificate(target, deadline) : undefined;
    throw explainTlsError(error, { address, peer, own: material.certificate });
  } finally {
    socket.destroy();
  }
}

async function accepted(socket: TLSSocket, address: string, deadline: AbortSignal): Promise<void> {
  let encrypted = false;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  deadline.addEventListener('abort', () => {
    reject(
      new SteepError('TIMEOUT', `${address}: no answer in time ${encrypted ? 'after' : 'to'} the handshake`, {
        hint: 'is that the gRPC port of a node? a firewall between may swallow packets',
      }),
    );
  });
  socket.once('secureConnect', () => {
    encrypted = true;
    socket.write(HELLO);
  });
  socket.once('data', () => resolve());
  // Stays: an error after the first must not end the process.
  socket.on('error', (error) => reject(encrypted && isHangUp(error) ? refusedUs(address) : error));
  socket.once('close', () => reject(encrypted ? refusedUs(address) : hangUp()));
  return await promise;
}

function isHangUp(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(codeOf(error) ?? '');
}

function hangUp(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' });
}

/** Bun's and Node's servers close without saying why. */
function refusedUs(address: string): SteepError {
  return new SteepError('FAILED', `${address} closed the connection: it refuses our certificate`, {
    hint: 'its log says why; most often it has another CA, or ours was revoked:  steep-repl tls show',
  });
}

/**
 * The certificate of a server that was refused, to say what is wrong with it: a second handshake that believes nobody,
 * presents no certificate and sends nothing.
 */
async function presentedCertificate(
  { host, port }: HandshakeTarget,
  deadline: AbortSignal,
): Promise<CertificateFacts | undefined> {
  const { promise, resolve } = Promise.withResolvers<CertificateFacts | undefined>();
  const socket = connect({
    host,
    port,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  deadline.addEventListener('abort', () => resolve(undefined));
  socket.once('secureConnect', () => resolve(factsOfPeer(socket)));
  socket.on('error', () => resolve(undefined));
  socket.once('close', () => resolve(undefined));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
