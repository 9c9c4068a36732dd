/** Real servers and clients of node-to-node TLS on loopback, and what each of them saw. */
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { messageOf } from '../../../src/lib/errors.ts';
import { explainTlsError } from '../../../src/tls/explain.ts';
import { factsOfPeer } from '../../../src/tls/facts.ts';
import type { TlsMaterial } from '../../../src/tls/material.ts';
import { serverTlsOptions, type ServerTlsOptions } from '../../../src/tls/options.ts';

/** As the door for other nodes will be; `with` replaces options to make a server that does not do as we do. */
export class TestServer implements AsyncDisposable {
  /** Why connections were refused, as the log would say. */
  readonly refusals: string[] = [];
  /** Serial numbers of the certificates that were let in. */
  readonly admitted: string[] = [];
  readonly server: Http2SecureServer;
  port = 0;
  private readonly sockets = new Set<TLSSocket>();

  private constructor(material: TlsMaterial, options: ServerTlsOptions) {
    this.server = createSecureServer({ ...serverTlsOptions(material), ...options });
    this.server.on('secureConnection', (socket: TLSSocket) => {
      this.sockets.add(socket);
      this.admitted.push(factsOfPeer(socket)?.serial ?? 'none');
      socket.on('error', () => {});
    });
    // First of all listeners: http2's own destroys the socket, and the certificate is gone with it.
    this.server.prependListener('tlsClientError', (error: Error, socket: TLSSocket) => {
      const peer = factsOfPeer(socket);
      this.refusals.push(explainTlsError(error, { address: 'client', peer }).message);
    });
  }

  static async start(material: TlsMaterial, options: ServerTlsOptions = {}): Promise<TestServer> {
    const started = new TestServer(material, options);
    await new Promise<void>((resolve) => started.server.listen(0, '127.0.0.1', resolve));
    started.port = (started.server.address() as AddressInfo).port;
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/**
 * Connects with exactly these options and waits for the server's first bytes: `admitted`, or the error's text, or
 * `closed`.
 */
export async function dial(port: number, options: ConnectionOptions): Promise<string> {
  const socket = connect({ host: '127.0.0.1', ...options, port });
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.once('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'));
  socket.once('data', () => resolve('admitted'));
  socket.on('error', (error) => resolve(messageOf(error)));
  socket.once('close', () => resolve('closed'));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
