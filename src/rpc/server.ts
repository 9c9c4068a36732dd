/** The door for other nodes: gRPC, gRPC-Web and Connect over HTTP/2, with mutual TLS unless told otherwise. */
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ConnectError, createContextValues, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { NodeInfo } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { Election } from '../gen/steep/repl/v1/election_pb.ts';
import { type ErrorCode, messageOf, SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { entryOf } from '../operations/registry.ts';
import type { Subject } from '../operations/subject.ts';
import type { Platform } from '../platform/index.ts';
import { crlsIn } from '../tls/crl.ts';
import { identityOf, type IdentityRules } from '../tls/identity.ts';
import type { TlsMaterial } from '../tls/material.ts';
import { serverTlsOptions } from '../tls/options.ts';
import { callerKey, NOBODY, type RpcCaller } from './caller.ts';
import { addressOf, Connections, subjectOf } from './connections.ts';
import { coordinatorRoutes } from './coordinator.ts';
import { REMOVED, toNodeInfo } from './convert.ts';
import { electionRoutes } from './election.ts';
import { toConnectError } from './errors.ts';
import { healthRoutes } from './health.ts';
import { RefusalAudit, Refusals } from './refusals.ts';

const MAX_MESSAGE = 4 * 1024 * 1024;
/** No call takes longer, whatever deadline its caller set; watching health is no call in this sense. */
const MAX_DEADLINE_MS = 60 * 60_000;
/** How long a stop waits for calls that are under way. */
const STOP_MS = 2000;
/** Errors that refuse a call, as opposed to those that say it cannot be answered now. */
const REFUSING: ReadonlySet<ErrorCode> = new Set(['PERMISSION_DENIED', 'CONFLICT', 'INVALID_REQUEST']);

export interface RpcServerOptions {
  bind: string;
  port: number;
  /** Undefined: without TLS, which the configuration allows on loopback only. */
  material: TlsMaterial | undefined;
  rules: IdentityRules;
  subject: Subject;
  platform: Platform;
  metrics: Metrics;
  log: Logger;
}

export interface RpcServer extends AsyncDisposable {
  readonly port: number;
  /** New connections use this from now on; running ones go on, except of revoked certificates. Throws what node:tls throws, changing nothing. */
  replaceMaterial(material: TlsMaterial): void;
}

/** Listens until disposed. Throws FAILED naming the address and, where it can be known, who has it. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const { bind, port, material, subject, log } = options;
  const stopping = new AbortController();
  const refusals = new Refusals(log);
  const adapter = connectNodeAdapter({
    routes: (router) => {
      coordinatorRoutes(router, subject);
      electionRoutes(router, subject);
      healthRoutes(router, subject);
    },
    readMaxBytes: MAX_MESSAGE,
    writeMaxBytes: MAX_MESSAGE,
    maxTimeoutMs: MAX_DEADLINE_MS,
    shutdownSignal: stopping.signal,
    interceptors: [answerAndCount(options, refusals)],
    contextValues: (request) =>
      createContextValues().set(
        callerKey,
        callerOfSession((request as http2.Http2ServerRequest).stream.session, options),
      ),
  });
  const handler = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void => {
    if (connections.admitCall(request.stream)) adapter(request, response);
  };
  const settings = { maxConcurrentStreams: 256 };
  const secureServer =
    material === undefined
      ? undefined
      : http2.createSecureServer({ ...serverTlsOptions(material), settings, allowHTTP1: false }, handler);
  const server = secureServer ?? http2.createServer({ settings }, handler);
  const connections = new Connections(server, refusals);
  await listen(server, options);
  const listening = (server.address() as AddressInfo).port;
  log.info('listening', { address: `${bind}:${listening}`, tls: material !== undefined });
  return {
    port: listening,
    replaceMaterial(fresh) {
      // All options again: what is left out falls back to a default that lets strangers in.
      secureServer?.setSecureContext(serverTlsOptions(fresh));
      if (fresh.crl !== undefined)
        connections.endRevoked(new Set(crlsIn(fresh.crl).flatMap(({ serials }) => serials)));
    },
    async [Symbol.asyncDispose]() {
      stopping.abort(new ConnectError(`${subject.config().node_id} is stopping`));
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await connections.end(STOP_MS);
      await Promise.race([closed, Bun.sleep(STOP_MS)]);
    },
  };

  function listen(
    target: http2.Http2Server | http2.Http2SecureServer,
    { platform }: RpcServerOptions,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      target.once('error', (error) => {
        const holder = platform.listenerOf(port);
        const why = holder === undefined ? messageOf(error) : `${holder} has it`;
        reject(
          new SteepError('FAILED', `cannot listen on ${bind}:${port}: ${why}`, {
            cause: error,
            hint: 'stop the other program, or set grpc.port',
          }),
        );
      });
      target.listen(port, bind, resolve);
    });
  }
}

/** Refuses removed nodes, makes our errors those of the wire, logs refusals, counts. */
function answerAndCount({ subject, metrics, log }: RpcServerOptions, refusals: Refusals): Interceptor {
  const audited = new RefusalAudit();
  return (next) => async (request) => {
    const began = performance.now();
    const method = `${request.service.typeName}/${request.method.name}`;
    const caller = request.contextValues.get(callerKey);
    const observe = (code: string): void =>
      metrics.observe('rpc', method, code, (performance.now() - began) / 1000);
    try {
      // Elections judge by the sender's list too: the own one may be the older.
      if (caller.identity.kind === 'node' && request.service.typeName !== Election.typeName)
        subject.cluster.refuseRemoved(caller.identity.nodeId);
      const response = await next(request);
      observe('ok');
      return response;
    } catch (thrown) {
      if (thrown instanceof ConnectError) {
        observe(String(thrown.code));
        throw thrown;
      }
      const error = SteepError.from(thrown);
      observe(error.code);
      if (error.code === 'INTERNAL_ERROR')
        log.error('a call failed', {
          method,
          error: error.message,
          stack: error.cause instanceof Error ? error.cause.stack : undefined,
        });
      if (REFUSING.has(error.code)) {
        refusals.report({ address: caller.address, subject: caller.subject, reason: error.message });
        if (request.method.name === 'RegisterNode' && audited.allows(caller.name, error.message))
          subject.auditRefusal(caller.name, caller.address, error.message);
      }
      throw toConnectError(error, removedRow(subject, caller));
    }
  };
}

/** Of the caller, if it was removed: it may not know. */
function removedRow(subject: Subject, { identity }: RpcCaller): NodeInfo | undefined {
  const { cluster } = subject;
  if (identity.kind !== 'node' || cluster.listed(identity.nodeId)?.state !== 'removed') return undefined;
  const member = cluster.registry.find(identity.nodeId);
  return member && { ...toNodeInfo(entryOf(subject, member), cluster.id), status: REMOVED };
}

const callers = new WeakMap<http2.Http2Session, RpcCaller>();

/** Worked out once a connection: its certificate does not change. */
function callerOfSession(
  session: http2.Http2Session | undefined,
  { material, rules }: RpcServerOptions,
): RpcCaller {
  // A stream that its client has reset already: with TLS it must not pass for a peer that needs no certificate.
  if (!session) return material === undefined ? nobody('') : NOBODY;
  const known = callers.get(session);
  if (known) return known;
  const caller =
    material === undefined
      ? nobody(addressOf(session.socket))
      : fromCertificate(session.socket as TLSSocket, rules);
  callers.set(session, caller);
  return caller;
}

function nobody(address: string): RpcCaller {
  return { identity: { kind: 'insecure' }, name: 'an insecure peer', address, subject: undefined };
}

function fromCertificate(socket: TLSSocket, rules: IdentityRules): RpcCaller {
  const certificate = socket.getPeerCertificate();
  const identity = identityOf(certificate, rules);
  const subject = subjectOf(certificate);
  const name =
    identity.kind === 'node'
      ? identity.nodeId
      : identity.kind === 'client'
        ? `client/${identity.name}`
        : subject;
  return { identity, name, address: addressOf(socket), subject };
}
