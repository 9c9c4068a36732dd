/** The local door: whoever may open the socket asks operations, one JSON object a line. */
import net from 'node:net';
import { SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Caller } from '../operations/operation.ts';
import type { Subject } from '../operations/subject.ts';
import type { IpcAccess, Platform } from '../platform/index.ts';
import { Connection } from './connection.ts';

export const MAX_CONNECTIONS = 64;
/** How long a stop waits for answers that are under way. */
const STOP_MS = 1000;

export interface IpcServerOptions {
  address: string;
  access: IpcAccess;
  subject: Subject;
  platform: Platform;
  metrics: Metrics;
  log: Logger;
}

export interface IpcServer extends AsyncDisposable {
  readonly address: string;
}

/** Listens until disposed. Throws CONFLICT when a living daemon has the address, FAILED, CONFIG_INVALID. */
export async function startIpcServer(options: IpcServerOptions): Promise<IpcServer> {
  const { address, access, platform, log } = options;
  const connections = new Set<Connection>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    if (connections.size >= MAX_CONNECTIONS) {
      refuse(socket);
      return;
    }
    const connection = new Connection(socket, { ...options, caller: callerOf(socket, options) });
    connections.add(connection);
    socket.once('close', () => connections.delete(connection));
  });
  const listening = await platform.listenLocally(server, address, access);
  server.on('error', (error) => log.error('the IPC socket failed', { address, error }));
  return {
    address,
    async [Symbol.asyncDispose]() {
      const closed = listening[Symbol.asyncDispose]();
      await Promise.all([...connections].map((connection) => connection.end(STOP_MS)));
      await closed;
    },
  };
}

function refuse(socket: net.Socket): void {
  const error = {
    code: 'CONFLICT',
    message: `there are ${MAX_CONNECTIONS} connections already, which is the limit`,
  };
  socket.on('error', () => {}); // it may be gone before it reads this
  socket.end(`${JSON.stringify({ id: null, result: null, error })}\n`);
  socket.setTimeout(STOP_MS, () => socket.destroy());
}

/** Root, our own user and the group may change things; where the kernel cannot tell, whoever could connect. */
function callerOf(socket: net.Socket, { platform, access }: IpcServerOptions): Caller {
  let peer;
  try {
    peer = platform.peerOf(socket, access.group);
  } catch (error) {
    throw SteepError.from(error);
  }
  if (!peer) return { name: null, mayChange: platform.os === 'windows' };
  const { user, inGroup } = peer;
  return {
    name: user.name,
    mayChange: user.privileged || user.uid === platform.currentUser().uid || inGroup,
  };
}
