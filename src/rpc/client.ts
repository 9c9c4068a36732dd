/** Calls to one peer: one connection, reused; a deadline on each call; errors in our terms. */
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Coordinator } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { Election } from '../gen/steep/repl/v1/election_pb.ts';
import { formatHostPort, type HostPort } from '../lib/host-port.ts';
import type { IdentityRules } from '../tls/identity.ts';
import type { TlsMaterial } from '../tls/material.ts';
import { clientTlsOptions } from '../tls/options.ts';
import { fromConnectError } from './errors.ts';

const MAX_MESSAGE = 4 * 1024 * 1024;
/** A connection that nobody uses is closed after this long. */
const IDLE_MS = 30_000;

export interface PeerClientOptions {
  address: HostPort;
  /** Undefined: without TLS. */
  material: TlsMaterial | undefined;
  rules: IdentityRules;
  /** A known peer is checked by its id; undefined on first contact, where its host name is. */
  nodeId: string | undefined;
}

/** What a peer can be asked. */
export interface PeerServices {
  coordinator: Client<typeof Coordinator>;
  election: Client<typeof Election>;
}

export interface CallOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

export class PeerClient {
  readonly address: string;
  private readonly services: PeerServices;
  private readonly own: TlsMaterial | undefined;
  private readonly connection: Http2SessionManager;
  private readonly closing = new AbortController();
  private readonly running = new Set<Promise<unknown>>();

  constructor({ address, material, rules, nodeId }: PeerClientOptions) {
    this.address = formatHostPort(address);
    this.own = material;
    const baseUrl = `${material === undefined ? 'http' : 'https'}://${this.address}`;
    const expected = { host: address.host, nodeId, rules };
    this.connection = new Http2SessionManager(
      baseUrl,
      // Pinged while idle, with a hung peer it throws where nobody can catch it (connect-es 1795).
      { idleConnectionTimeoutMs: IDLE_MS, pingIdleConnection: false },
      material === undefined ? undefined : clientTlsOptions(material, expected),
    );
    const limits = { readMaxBytes: MAX_MESSAGE, writeMaxBytes: MAX_MESSAGE };
    const transport = createGrpcTransport({ ...limits, baseUrl, sessionManager: this.connection });
    this.services = {
      coordinator: createClient(Coordinator, transport),
      election: createClient(Election, transport),
    };
  }

  /** Throws what the peer answers, CANNOT_CONNECT, TIMEOUT, FAILED for a certificate; with a hint where there is one. */
  async call<T>(
    run: (peer: PeerServices, options: CallOptions) => Promise<T>,
    timeoutMs: number,
  ): Promise<T> {
    const call = run(this.services, { timeoutMs, signal: this.closing.signal });
    this.running.add(call);
    try {
      return await call;
    } catch (thrown) {
      const error = fromConnectError(this.address, thrown, this.own);
      // Maybe the connection swallows everything, for a quarter of an hour: the next call gets a new one.
      if (error.code === 'TIMEOUT') this.connection.abort();
      throw error;
    } finally {
      this.running.delete(call);
    }
  }

  /** Lets running calls end, each within its deadline, then the connection. */
  async retire(): Promise<void> {
    while (this.running.size > 0) await Promise.allSettled(this.running);
    this.close();
  }

  /** Ends running calls, and the connection. */
  close(): void {
    this.closing.abort();
    this.connection.abort();
  }
}
