/** A client of the IPC door that shares no code with steep-repl: what another program would write in a minute. */
import net from 'node:net';
import { waitFor } from './wait.ts';

export interface Answer {
  id: string | null;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  result: any;
  error: { code: string; message: string; hint?: string } | null;
  // oxlint-disable-next-line typescript/no-explicit-any -- likewise
  event?: any;
}

export class RawIpc implements Disposable {
  readonly socket: net.Socket;
  /** Every line that came, parsed. */
  readonly lines: Answer[] = [];
  /** Bytes that came. */
  bytes = 0;
  closed = false;
  private news = Promise.withResolvers<void>();
  private rest = '';
  private count = 0;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      this.bytes += text.length;
      const parts = (this.rest + text).split('\n');
      this.rest = parts.pop() ?? '';
      for (const part of parts) this.lines.push(JSON.parse(part) as Answer);
      this.tell();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.tell();
    });
  }

  static open(path: string): Promise<RawIpc> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ path, allowHalfOpen: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawIpc(socket));
      });
      socket.once('end', () => socket.end());
    });
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data);
  }

  /** Sends one request; its id. */
  send(method: string, params?: unknown, id = `r${(this.count += 1)}`): string {
    this.write(`${JSON.stringify({ id, method, ...(params === undefined ? {} : { params }) })}\n`);
    return id;
  }

  /** Sends one request and waits for its answer. */
  async ask(method: string, params?: unknown): Promise<Answer> {
    const id = this.send(method, params);
    return await this.find((line) => line.id === id, `the answer to ${method}`);
  }

  /** The first line that fits, as soon as it is there. */
  async find(fits: (line: Answer) => boolean, what: string, limit = 60_000): Promise<Answer> {
    const timeout = setTimeout(
      () => this.news.reject(new Error(`waited ${limit / 1000} s in vain for ${what}`)),
      limit,
    );
    try {
      for (;;) {
        const found = this.lines.find(fits);
        if (found) return found;
        if (this.closed)
          throw new Error(`closed before ${what}; the last line was ${JSON.stringify(this.lines.at(-1))}`);
        await this.news.promise;
      }
    } finally {
      clearTimeout(timeout);
    }
  }

  async untilClosed(limit?: number): Promise<void> {
    await waitFor(() => this.closed, 'the daemon to close the connection', limit);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  private tell(): void {
    this.news.resolve();
    this.news = Promise.withResolvers();
  }
}

/** One question on a connection of its own. */
export async function ask(path: string, method: string, params?: unknown): Promise<Answer> {
  using client = await RawIpc.open(path);
  return await client.ask(method, params);
}
