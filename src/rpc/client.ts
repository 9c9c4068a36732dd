/** Calls to one peer: one connection, reused; a deadline on each call; errors in our terms. */
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Coordinator } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { formatHostPort, type HostPort } from '../lib/host-port.ts';
import type { IdentityRules } from '../tls/identity.ts';
import type { TlsMaterial } from '../tls/material.ts';
import { clientTlsOptions } from '../tls/options.ts';
import { fromConnectError } from './errors.ts';

const MAX_MESSAGE = 4 * 1024 * 1024;
/** An idle connection is pinged before it is used again after this long: a peer may be gone without a word. */
const IDLE_MS = 30_000;

export interface PeerClientOptions {
  address: HostPort;
  /** Undefined: without TLS. */
  material: TlsMaterial | undefined;
  rules: IdentityRules;
  /** A known peer is checked by its id; undefined on first contact, where its host name is. */
  nodeId: string | undefined;
}

type CoordinatorClient = Client<typeof Coordinator>;

export interface CallOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

export class PeerClient {
  readonly address: string;
  private readonly client: CoordinatorClient;
  private readonly own: TlsMaterial | undefined;
  private readonly closing = new AbortController();

  constructor({ address, material, rules, nodeId }: PeerClientOptions) {
    this.address = formatHostPort(address);
    this.own = material;
    const shared = {
      readMaxBytes: MAX_MESSAGE,
      writeMaxBytes: MAX_MESSAGE,
      idleConnectionTimeoutMs: IDLE_MS,
      pingIdleConnection: false, // with a hung peer it throws where nobody can catch it (connect-es 1795)
    };
    const expected = { host: address.host, nodeId, rules };
    const transport = createGrpcTransport(
      material === undefined
        ? { ...shared, baseUrl: `http://${this.address}` }
        : {
            ...shared,
            baseUrl: `https://${this.address}`,
            nodeOptions: clientTlsOptions(material, expected),
          },
    );
    this.client = createClient(Coordinator, transport);
  }

  /** Throws what the peer answers, CANNOT_CONNECT, TIMEOUT, FAILED for a certificate; with a hint where there is one. */
  async call<T>(
    run: (client: CoordinatorClient, options: CallOptions) => Promise<T>,
    timeoutMs: number,
  ): Promise<T> {
    try {
      return await run(this.client, { timeoutMs, signal: this.closing.signal });
    } catch (error) {
      throw fromConnectError(this.address, error, this.own);
    }
  }

  /** Ends running calls; the connection closes when it has been idle for a while. */
  close(): void {
    this.closing.abort();
  }
}
