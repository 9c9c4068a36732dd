/**
 * Calls to an etcd cluster. Its members are tried in turn, each call with a short deadline, and who answered last is
 * asked first: a member that is dead, or hangs, costs one deadline once. What failed gets a new connection.
 */
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { KV, Lease, Watch } from '../gen/etcdserverpb/rpc_pb.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import type { Platform } from '../platform/index.ts';
import { explainTlsError } from '../tls/explain.ts';
import { type EtcdConfig, tlsOptionsOf, urlOf } from './credentials.ts';

const MAX_MESSAGE = 4 * 1024 * 1024;

/** What one member can be asked. */
export interface EtcdServices {
  kv: Client<typeof KV>;
  lease: Client<typeof Lease>;
  watch: Client<typeof Watch>;
}

export interface CallOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

export interface EtcdClientOptions {
  config: EtcdConfig;
  platform: Pick<Platform, 'readableByOthers'>;
  /** Milliseconds for each call to a member. */
  timeout: () => number;
}

interface Connection {
  services: EtcdServices;
  /** Fires when this connection is given up. */
  ended: AbortController;
}

export class EtcdClient {
  readonly endpoints: readonly string[];
  private readonly options: EtcdClientOptions;
  private readonly connections = new Map<string, Connection>();
  private preferred = 0;
  private closed = false;

  constructor(options: EtcdClientOptions) {
    this.options = options;
    this.endpoints = options.config.endpoints.map((endpoint) => urlOf(endpoint, options.config));
  }

  /**
   * Asks one member after the other until one answers; all that `run` asks, it asks of the same one. Throws
   * CANNOT_CONNECT with what each of them said.
   */
  async call<T>(run: (etcd: EtcdServices, options: CallOptions) => Promise<T>): Promise<T> {
    const failures: string[] = [];
    let remedy: string | undefined;
    for (let tried = 0; tried < this.endpoints.length && !this.closed; tried += 1) {
      const index = this.preferred;
      const url = this.endpoints[index] ?? '';
      const timeoutMs = this.options.timeout();
      try {
        const { services, ended } = this.connectionTo(url);
        return await run(services, { timeoutMs, signal: ended.signal });
      } catch (thrown) {
        failures.push(reasonOf(url, thrown, timeoutMs));
        if (thrown instanceof SteepError) remedy ??= thrown.hint; // a file of our own
        this.giveUp(url);
        // Of two calls that fail at one moment, only one moves on.
        if (this.preferred === index) this.preferred = (index + 1) % this.endpoints.length;
      }
    }
    throw new SteepError('CANNOT_CONNECT', `etcd does not answer: ${failures.join('; ')}`, {
      hint:
        remedy ??
        'a majority of its members must run:  etcdctl endpoint status; election.etcd says where they are',
    });
  }

  /**
   * Calls `wake` whenever a key between `key` and `rangeEnd` may have changed, and once at the beginning. Returns when
   * the watch ends: with its connection, or by the signal. It only saves time; nobody may depend on it.
   */
  async watch(key: Uint8Array, rangeEnd: Uint8Array, wake: () => void, signal: AbortSignal): Promise<void> {
    try {
      const { services, ended } = this.connectionTo(this.endpoints[this.preferred] ?? '');
      const either = AbortSignal.any([ended.signal, signal]);
      const request = { requestUnion: { case: 'createRequest' as const, value: { key, rangeEnd } } };
      for await (const _ of services.watch.watch(openUntil(request, either), { signal: either })) wake();
    } catch {
      // Whatever it was, a call will say it.
    }
  }

  close(): void {
    this.closed = true;
    for (const url of this.connections.keys()) this.giveUp(url);
  }

  private connectionTo(url: string): Connection {
    const known = this.connections.get(url);
    if (known) return known;
    const { config, platform } = this.options;
    const session = new Http2SessionManager(
      url,
      // Pinged while idle, with a hung peer it throws where nobody can catch it (connect-es 1795).
      { pingIdleConnection: false },
      tlsOptionsOf(url, config, platform),
    );
    const limits = { readMaxBytes: MAX_MESSAGE, writeMaxBytes: MAX_MESSAGE };
    const transport = createGrpcTransport({ ...limits, baseUrl: url, sessionManager: session });
    const services = {
      kv: createClient(KV, transport),
      lease: createClient(Lease, transport),
      watch: createClient(Watch, transport),
    };
    const ended = new AbortController();
    ended.signal.addEventListener('abort', () => session.abort());
    const fresh = { services, ended };
    this.connections.set(url, fresh);
    return fresh;
  }

  private giveUp(url: string): void {
    const connection = this.connections.get(url);
    this.connections.delete(url);
    connection?.ended.abort();
  }
}

/** A stream of requests that says one thing, and stays open. */
async function* openUntil<T>(request: T, signal: AbortSignal): AsyncGenerator<T> {
  yield request;
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Why a member did not answer as it should, naming it. */
function reasonOf(url: string, thrown: unknown, timeoutMs: number): string {
  if (thrown instanceof SteepError) return `${url}: ${thrown.message}`;
  const error = ConnectError.from(thrown);
  if (codeOf(error.cause) !== undefined || error.cause instanceof SteepError)
    return explainTlsError(error.cause, { address: url }).message;
  if (error.code === Code.DeadlineExceeded) return `${url}: no answer within ${Math.round(timeoutMs)} ms`;
  return `${url}: ${error.rawMessage || messageOf(thrown)}`;
}
