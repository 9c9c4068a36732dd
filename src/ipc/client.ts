/** A typed client of the IPC door, for commands and tests. */
import net from 'node:net';
import { codeOf, type ErrorCode, messageOf, SteepError } from '../lib/errors.ts';
import { LineSplitter } from '../lib/jsonl.ts';
import type { EventOf, OperationName, ParamsOf, ResultOf, StreamName } from '../operations/index.ts';
import type { Platform } from '../platform/index.ts';
import type { IpcErrorCode } from './errors.ts';
import type { IpcError, Response } from './protocol.ts';

const CONNECT_MS = 2000;
const ANSWER_MS = 35_000;
/** For answers that the daemon has in its memory: when these do not come, it hangs. */
const MEMORY_ANSWER_MS = 5000;
const FROM_MEMORY: ReadonlySet<OperationName> = new Set([
  'status.get',
  'health.check',
  'nodes.list',
  'nodes.get',
  'coordinator.get',
]);
/** An answer may be larger than a request may: a thousand audit entries are. */
const MAX_ANSWER = 256 * 1024 * 1024;

/** What the daemon's codes are on this side: the same, but a defect over there is none of ours. */
const localCodes: Record<IpcErrorCode, ErrorCode> = {
  INVALID_REQUEST: 'INVALID_REQUEST',
  METHOD_NOT_FOUND: 'METHOD_NOT_FOUND',
  INTERNAL_ERROR: 'FAILED',
  NOT_CONNECTED: 'NOT_CONNECTED',
  NODE_NOT_FOUND: 'NODE_NOT_FOUND',
  PERMISSION_DENIED: 'PERMISSION_DENIED',
  CONFLICT: 'CONFLICT',
  TIMEOUT: 'TIMEOUT',
};

interface Pending {
  resolve: (result: unknown) => void;
  reject: (error: SteepError) => void;
  onEvent: ((event: unknown) => void) | undefined;
}

export class IpcClient implements Disposable {
  readonly address: string;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
  private readonly socket: net.Socket;
  private readonly pending = new Map<string, Pending>();
  private readonly splitter = new LineSplitter(MAX_ANSWER);
  private count = 0;
  private reason = new SteepError('CANNOT_CONNECT', 'the daemon closed the connection');

  private constructor(address: string, socket: net.Socket) {
    this.address = address;
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const line of this.splitter.push(chunk)) this.receive(JSON.parse(line) as Response);
      } catch (cause) {
        this.failAll(new SteepError('CANNOT_CONNECT', `what answers at ${address} is no daemon`, { cause }));
        socket.destroy();
      }
    });
    socket.on('error', () => {}); // followed by close
    socket.once('close', () => this.failAll(this.reason));
  }

  /**
   * Connects to one address. Throws NOT_RUNNING when nobody listens there, PERMISSION_DENIED without the right
   * to, or when the socket is not to be trusted, TIMEOUT.
   */
  static async connect(address: string, platform: Platform): Promise<IpcClient> {
    try {
      refuse(address, platform.distrust(address));
      const socket = await dial(address);
      const reason = platform.distrustPeer(socket);
      if (reason !== undefined) socket.destroy();
      refuse(address, reason);
      return new IpcClient(address, socket);
    } catch (error) {
      throw explain(address, error);
    }
  }

  /** Asks one operation. Throws what the daemon answers, TIMEOUT, CANNOT_CONNECT when it goes away. */
  async call<Name extends OperationName>(
    name: Name,
    params: ParamsOf<Name>,
    timeout = FROM_MEMORY.has(name) ? MEMORY_ANSWER_MS : ANSWER_MS,
  ): Promise<ResultOf<Name>> {
    return (await this.request(name, params, timeout, undefined)) as ResultOf<Name>;
  }

  /** Events from now on, until the client is disposed; resolves when the daemon has agreed. */
  async subscribe<Name extends StreamName>(
    name: Name,
    params: ParamsOf<Name>,
    onEvent: (event: EventOf<Name>) => void,
  ): Promise<void> {
    await this.request(name, params, ANSWER_MS, onEvent as (event: unknown) => void);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  private async request(
    method: string,
    params: unknown,
    timeout: number,
    onEvent: ((event: unknown) => void) | undefined,
  ): Promise<unknown> {
    if (this.socket.destroyed) throw this.reason;
    this.count += 1;
    const id = String(this.count);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timer = setTimeout(() => {
      this.pending.delete(id);
      reject(
        new SteepError('TIMEOUT', `the daemon did not answer within ${timeout / 1000} s`, {
          hint: 'steep-repl logs; is it stopped or overloaded?',
        }),
      );
    }, timeout);
    this.pending.set(id, { resolve, reject, onEvent });
    this.socket.write(`${JSON.stringify({ id, method, params })}\n`);
    return await promise.finally(() => clearTimeout(timer));
  }

  private receive(response: Response): void {
    if ('event' in response) {
      this.pending.get(response.id)?.onEvent?.(response.event);
      return;
    }
    if (response.id === null) {
      if (response.error) this.failAll(errorFrom(response.error));
      return;
    }
    const pending = this.pending.get(response.id);
    if (!pending) return;
    if (pending.onEvent === undefined || response.error) this.pending.delete(response.id);
    if (response.error) pending.reject(errorFrom(response.error));
    else pending.resolve(response.result);
  }

  /** Also what is asked from now on: an error without id is about the connection, which ends. */
  private failAll(error: SteepError): void {
    this.reason = error;
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }
}

function refuse(address: string, reason: string | undefined): void {
  if (reason === undefined) return;
  throw new SteepError('PERMISSION_DENIED', `the socket ${address} is not to be trusted: ${reason}`, {
    hint: 'find out who made it; --socket PATH names another one',
  });
}

function errorFrom({ code, message, hint }: IpcError): SteepError {
  return new SteepError(localCodes[code] ?? 'FAILED', message, hint === undefined ? {} : { hint });
}

function dial(address: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(address);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new SteepError('TIMEOUT', `nobody took the call at ${address} within ${CONNECT_MS / 1000} s`));
    }, CONNECT_MS);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

function explain(address: string, error: unknown): SteepError {
  if (error instanceof SteepError) return error;
  switch (codeOf(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new SteepError('NOT_RUNNING', `no daemon answers at ${address}`, {
        cause: error,
        hint: 'steep-repl run',
      });
    case 'EACCES':
    case 'EPERM':
      return new SteepError('PERMISSION_DENIED', `no right to connect to ${address}`, {
        cause: error,
        hint: 'use root, the user of the daemon, or a member of ipc.group',
      });
    default:
      return new SteepError('CANNOT_CONNECT', `cannot connect to ${address}: ${messageOf(error)}`, {
        cause: error,
      });
  }
}
