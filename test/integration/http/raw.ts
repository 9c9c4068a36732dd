/** HTTP over a plain socket, so that what no proper client would send can be sent. */
import net from 'node:net';

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Everything that comes back until the other side closes, or nothing more comes for `quiet` milliseconds. */
export function exchange(port: number, data: string | Uint8Array, quiet = 5000): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(data));
    let received = '';
    const done = (): void => {
      socket.destroy();
      resolve(received);
    };
    socket.setTimeout(quiet, done);
    socket.on('data', (chunk) => (received += chunk.toString('latin1')));
    socket.on('error', done);
    socket.on('close', done);
  });
}

/** The reply to a request that asks for the connection to be closed. */
export async function rawRequest(port: number, request: string): Promise<Reply> {
  return parseReply(await exchange(port, request, 30_000));
}

function parseReply(received: string): Reply {
  const end = received.indexOf('\r\n\r\n');
  const [first = '', ...lines] = received.slice(0, end).split('\r\n');
  const status = /^HTTP\/1\.1 (\d{3})/.exec(first)?.[1];
  if (status === undefined) throw new Error(`no reply but ${JSON.stringify(received.slice(0, 200))}`);
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(status), headers, body: received.slice(end + 4) };
}
