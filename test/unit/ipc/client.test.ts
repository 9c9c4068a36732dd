/** The client against things that answer otherwise than a daemon does. */
import { describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { IpcClient } from '../../../src/ipc/client.ts';
import { SteepError } from '../../../src/lib/errors.ts';
import { thisPlatform } from '../../../src/platform/index.ts';

const platform = thisPlatform();

/** A folder with a socket in it on which `answer` is called for each connection. */
class Listener implements AsyncDisposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'ipc-'));
  readonly address = path.join(this.folder, 's');
  private readonly server: net.Server;
  private readonly sockets = new Set<net.Socket>();

  constructor(answer: (socket: net.Socket) => void) {
    this.server = net.createServer((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => {});
      answer(socket);
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(this.address, resolve));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    rmSync(this.folder, { recursive: true });
  }
}

async function failure(promise: Promise<unknown>): Promise<SteepError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SteepError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

async function askOnce(answer: (socket: net.Socket) => void, timeout?: number): Promise<SteepError> {
  await using listener = await new Listener(answer).listen();
  using client = await IpcClient.connect(listener.address, platform);
  return await failure(client.call('status.get', {}, timeout));
}

describe('a client', () => {
  test('says so when what answers is no daemon', async () => {
    const error = await askOnce((socket) => socket.write('220 mail.example.com ESMTP\r\n'));
    expect([error.code, error.message]).toEqual([
      'CANNOT_CONNECT',
      expect.stringMatching(/^what answers at .+ is no daemon$/) as unknown as string,
    ]);
  });

  test('tells why it was refused, also when that came before it asked', async () => {
    const line = '{"id":null,"result":null,"error":{"code":"CONFLICT","message":"64 connections"}}\n';
    await using listener = await new Listener((socket) => socket.end(line)).listen();
    using client = await IpcClient.connect(listener.address, platform);
    await client.closed;
    const error = await failure(client.call('status.get', {}));
    expect([error.code, error.message]).toEqual(['CONFLICT', '64 connections']);
  });

  test('fails with the code and the hint that the daemon gives', async () => {
    const error = await askOnce((socket) =>
      socket.write(
        '{"id":"1","result":null,"error":{"code":"NOT_CONNECTED","message":"away","hint":"start it"}}\n',
      ),
    );
    expect([error.code, error.message, error.hint]).toEqual(['NOT_CONNECTED', 'away', 'start it']);
  });

  test('does not take a defect of the daemon, or a code of a later version, for its own', async () => {
    for (const code of ['INTERNAL_ERROR', 'FROM_THE_FUTURE']) {
      const error = await askOnce((socket) =>
        socket.write(`{"id":"1","result":null,"error":{"code":"${code}","message":"m"}}\n`),
      );
      expect(error.code).toBe('FAILED');
    }
  });

  test('gives up waiting, and when the daemon goes away', async () => {
    expect((await askOnce(() => {}, 50)).code).toBe('TIMEOUT');
    expect((await askOnce((socket) => socket.destroy())).code).toBe('CANNOT_CONNECT');
  });

  test('does not wait long for what a daemon that does not hang knows by heart', async () => {
    const began = performance.now();
    const error = await askOnce(() => {});
    expect([error.code, error.message]).toEqual(['TIMEOUT', 'the daemon did not answer within 5 s']);
    expect(performance.now() - began).toBeGreaterThanOrEqual(4900);
  }, 30_000);

  test('tells answers apart by their ids, in whatever order and pieces they come', async () => {
    const text =
      '{"id":"2","result":"zwei ä","error":null}\n{"id":"9","result":0,"error":null}\n{"id":"1","result":"eins","error":null}\n';
    await using listener = await new Listener((socket) => {
      socket.once('data', () => {
        void (async () => {
          for (const byte of Buffer.from(text)) {
            socket.write(Buffer.from([byte]));
            await Bun.sleep(0);
          }
        })();
      });
    }).listen();
    using client = await IpcClient.connect(listener.address, platform);
    const answers = await Promise.all([client.call('status.get', {}), client.call('health.check', {})]);
    expect(answers as unknown[]).toEqual(['eins', 'zwei ä']);
  });

  test('says that nobody runs where there is no socket, or nobody answers on it', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'ipc-'));
    expect((await failure(IpcClient.connect(path.join(folder, 'none'), platform))).code).toBe('NOT_RUNNING');
    rmSync(folder, { recursive: true });
  });

  test('believes nothing but a socket', async () => {
    await using listener = await new Listener(() => {}).listen();
    const file = path.join(listener.folder, 'file');
    writeFileSync(file, '');
    const link = path.join(listener.folder, 'link');
    symlinkSync(listener.address, link);
    for (const address of [file, link, listener.folder]) {
      const error = await failure(IpcClient.connect(address, platform));
      expect([error.code, error.message]).toEqual([
        'PERMISSION_DENIED',
        `the socket ${address} is not to be trusted: it is no socket`,
      ]);
    }
  });
});
