/** Runs `postgresql.password_command`. What it prints never leaves this file except as the password. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { childEnv } from '../lib/child-env.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';

const LIMIT_MS = 10_000;
const LIMIT_BYTES = 64 * 1024;

export interface PasswordOptions {
  /** Ends the command and rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds; default 10 s. */
  limit?: number;
}

/**
 * The first line that the command prints on stdout, without its line end.
 * Throws PERMISSION_DENIED when it fails, prints nothing or takes longer than 10 s. The message names the
 * program only: its arguments and output may hold secrets.
 */
export async function passwordFrom(
  command: string[],
  { signal, limit = LIMIT_MS }: PasswordOptions = {},
): Promise<string> {
  const [program = '', ...args] = command;
  const name = path.basename(program);
  const fail = (what: string, cause?: unknown): SteepError =>
    new SteepError('PERMISSION_DENIED', `password_command ${name} ${what}`, {
      cause,
      hint: `run it by hand as the user of the daemon`,
    });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = start(program, args, fail);
  let output = Buffer.alloc(0);
  const giveUp = (reason: unknown): void => {
    endGroup(child);
    child.stdout.destroy(); // somebody who left the group may hold its other end for ever
    reject(reason instanceof Error ? reason : new Error(String(reason)));
  };
  const timer = setTimeout(() => giveUp(fail(`took longer than ${limit / 1000} s`)), limit);
  const onAbort = (): void => giveUp(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();
  child.stdout.on('data', (chunk: Buffer) => {
    output = Buffer.concat([output, chunk]);
    if (output.length > LIMIT_BYTES) giveUp(fail(`printed more than ${LIMIT_BYTES / 1024} KiB`));
  });
  child.once('error', (error) => reject(fail(`cannot be run: ${messageOf(error)}`, error)));
  child.once('close', (status, endedBy) => {
    const password = output.toString('utf8').replace(/\r?\n[\s\S]*$/, '');
    if (status !== 0) reject(fail(endedBy ? `was ended by ${endedBy}` : `ended with exit code ${status}`));
    else if (password === '') reject(fail('printed no password'));
    else if (password.includes('\0')) reject(fail('printed a NUL byte'));
    else resolve(password);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

type Child = ChildProcessByStdio<null, Readable, null>;

function start(program: string, args: string[], fail: (what: string) => SteepError): Child {
  try {
    // In a process group of its own, so that the limit ends its children too.
    return spawn(program, args, {
      env: childEnv(),
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
      windowsHide: true,
    });
  } catch (error) {
    // Thrown at once for what can be no program or argument; the message of that quotes it.
    throw fail(`cannot be run: ${codeOf(error) ?? 'wrong arguments'}`);
  }
}

function endGroup({ pid }: Child): void {
  try {
    if (pid !== undefined) process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
