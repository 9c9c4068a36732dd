/** One question to a daemon, with the error as it came. */
import net from 'node:net';

export interface Reply {
  // oxlint-disable-next-line typescript/no-explicit-any -- the soak looks into answers of every shape
  result?: any;
  error: { code: string; message: string } | null;
}

/** `SILENT`: it did not answer in time, or went away. */
export async function request(
  socketPath: string,
  method: string,
  params: object = {},
  limit = 5000,
): Promise<Reply> {
  const { promise, resolve } = Promise.withResolvers<Reply>();
  const silent = (message: string): void => resolve({ error: { code: 'SILENT', message } });
  const socket = net.connect(socketPath);
  const late = setTimeout(() => silent('no answer'), limit);
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    text += chunk;
    if (text.endsWith('\n')) resolve(JSON.parse(text) as Reply);
  });
  socket.on('error', (error) => silent(error.message));
  socket.on('close', () => silent('closed'));
  socket.write(`${JSON.stringify({ id: '1', method, params })}\n`);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}
