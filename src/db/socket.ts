/**
 * Opens the socket to PostgreSQL with libpq's meaning of each sslmode. The client library only gets a socket
 * that is already connected and encrypted: its own TLS knows neither verify-ca nor `prefer`'s second attempt.
 */
import { existsSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { thisPlatform } from '../platform/index.ts';
import type { Target } from './target.ts';

/** Length 8, then the code that asks for TLS. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

export interface OpenedSocket {
  socket: net.Socket;
  encrypted: boolean;
  /** Why TLS broke after its handshake: a TLS 1.3 server refuses our certificate only then. */
  tlsFailure?: () => SteepError | undefined;
}

/**
 * A connected socket; the signal ends the attempt. Throws system errors (ECONNREFUSED …) as they are, and
 * CANNOT_CONNECT when TLS was asked for and cannot be had.
 */
export async function openSocket(target: Target, signal: AbortSignal): Promise<OpenedSocket> {
  if (target.host.startsWith('/')) {
    const socketPath = path.posix.join(target.host, `.s.PGSQL.${target.port}`);
    return { socket: await connected(net.connect({ path: socketPath }), signal), encrypted: false };
  }
  const plain = (): Promise<net.Socket> =>
    connected(net.connect({ host: target.host, port: target.port, noDelay: true }), signal);
  if (target.sslmode === 'disable') return { socket: await plain(), encrypted: false };
  const options = tlsOptions(target); // before dialling: unreadable files are our own mistake
  const socket = await plain();
  socket.write(SSL_REQUEST);
  const answer = await firstByte(socket, signal);
  if (answer === 'S') {
    try {
      const encrypted = await secured(socket, options, signal);
      let failure: SteepError | undefined;
      encrypted.on('error', (error) => {
        if (/SSL/.test(`${codeOf(error)} ${error.message}`)) failure ??= tlsError(target, error);
      });
      return { socket: encrypted, encrypted: true, tlsFailure: () => failure };
    } catch (error) {
      socket.destroy();
      if (target.sslmode !== 'prefer' || signal.aborted) throw tlsError(target, error);
      return { socket: await plain(), encrypted: false };
    }
  }
  if (target.sslmode === 'prefer' && answer === 'N') return { socket, encrypted: false };
  socket.destroy();
  throw new SteepError('CANNOT_CONNECT', `the server at ${target.host}:${target.port} does not speak TLS`, {
    hint: `set ssl = on at the server; postgresql.sslmode ${target.sslmode} asks for TLS`,
  });
}

function connected(socket: net.Socket, signal: AbortSignal): Promise<net.Socket> {
  outliveErrors(socket);
  return settled(socket, 'connect', signal).then(() => socket);
}

/**
 * Whoever uses a socket hears its errors, or its end, by listeners of his own. One must always be there: an error
 * that comes while the socket goes from hand to hand would end the daemon.
 */
function outliveErrors(socket: net.Socket): void {
  socket.on('error', () => {});
}

/** Resolves at the event, rejects at an error, a close or the signal, and then leaves no listener behind. */
function settled(socket: net.Socket, event: string, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void): void => {
      socket.off(event, onEvent);
      socket.off('error', onError);
      socket.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const fail = (error: unknown): void =>
      done(() => {
        socket.destroy();
        reject(error instanceof Error ? error : new Error(String(error)));
      });
    const onEvent = (value: unknown): void => done(() => resolve(value));
    const onError = (error: Error): void => fail(error);
    const onClose = (): void =>
      fail(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' }));
    const onAbort = (): void => fail(signal.reason);
    socket.once(event, onEvent);
    socket.once('error', onError);
    socket.once('close', onClose);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
}

/** The server's one-byte answer. More than one byte before TLS is an injection (CVE-2021-23222): refused. */
async function firstByte(socket: net.Socket, signal: AbortSignal): Promise<string> {
  const data = await settled(socket, 'data', signal);
  if (!(data instanceof Buffer) || data.length !== 1) {
    socket.destroy();
    throw new SteepError('CANNOT_CONNECT', 'the server sent unencrypted data after the request for TLS');
  }
  // Not paused: a listener added later would not set it going again, and the server is silent until we speak.
  return data.toString('latin1');
}

async function secured(
  socket: net.Socket,
  options: tls.ConnectionOptions,
  signal: AbortSignal,
): Promise<net.Socket> {
  const encrypted = tls.connect({ ...options, socket });
  outliveErrors(encrypted);
  await settled(encrypted, 'secureConnect', signal);
  return encrypted;
}

/** The files that libpq looks for too when none is configured. */
function fileOr(configured: string | undefined, name: string): string | undefined {
  if (configured !== undefined) return configured;
  const fallback = path.join(homedir(), '.postgresql', name);
  return existsSync(fallback) ? fallback : undefined;
}

function tlsOptions(target: Target): tls.ConnectionOptions {
  const rootFile = fileOr(target.sslrootcert, 'root.crt');
  const certFile = fileOr(target.sslcert, 'postgresql.crt');
  const keyFile = fileOr(target.sslkey, 'postgresql.key');
  // As in libpq, a root certificate turns `require` into verify-ca.
  const verify =
    target.sslmode.startsWith('verify-') || (target.sslmode === 'require' && rootFile !== undefined);
  if (verify && rootFile === undefined)
    throw new SteepError(
      'CONFIG_INVALID',
      `postgresql.sslmode ${target.sslmode} needs postgresql.sslrootcert`,
      {
        hint: 'the file with the certificate of the CA that signed the server’s',
      },
    );
  const options: tls.ConnectionOptions = { rejectUnauthorized: verify, minVersion: 'TLSv1.2' };
  if (net.isIP(target.host) === 0) options.servername = target.host;
  if (verify && rootFile !== 'system' && rootFile !== undefined)
    options.ca = readCertificates(rootFile, 'sslrootcert');
  if (certFile !== undefined && keyFile !== undefined) {
    refuseUnsafeKey(keyFile);
    options.cert = readPem(certFile, 'sslcert');
    options.key = readPem(keyFile, 'sslkey');
  }
  options.checkServerIdentity = (_name, certificate) =>
    target.sslmode === 'verify-full' || rootFile === 'system'
      ? tls.checkServerIdentity(target.host, certificate)
      : undefined;
  return options;
}

function readPem(file: string, key: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new SteepError('CONFIG_INVALID', `postgresql.${key}: cannot read ${file}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Without a certificate in it, the public authorities would be trusted instead. */
function readCertificates(file: string, key: string): string {
  const pem = readPem(file, key);
  if (!pem.includes('-----BEGIN CERTIFICATE-----') && !pem.includes('-----BEGIN TRUSTED CERTIFICATE-----'))
    throw new SteepError('CONFIG_INVALID', `postgresql.${key}: ${file} holds no certificate`, {
      hint: 'a PEM file: -----BEGIN CERTIFICATE----- …',
    });
  return pem;
}

function refuseUnsafeKey(file: string): void {
  const exposed = existsSync(file) ? thisPlatform().readableByOthers(file) : undefined;
  if (exposed !== undefined)
    throw new SteepError(
      'CONFIG_INVALID',
      `postgresql.sslkey: ${file} can be read by others: ${exposed.reason}`,
      {
        hint: exposed.remedy,
      },
    );
}

function tlsError(target: Target, error: unknown): SteepError {
  return new SteepError(
    'CANNOT_CONNECT',
    `TLS with ${target.host}:${target.port} failed: ${messageOf(error)}`,
    {
      cause: error,
      hint: `check postgresql.sslmode (${target.sslmode}) and sslrootcert against the server’s certificate`,
    },
  );
}
