/** Runs `postgresql.password_command`. What it prints never leaves this file except as the password. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { messageOf, SteepError } from '../lib/errors.ts';

const LIMIT_MS = 10_000;
const LIMIT_BYTES = 64 * 1024;

/**
 * The first line that the command prints on stdout, without its line end.
 * Throws PERMISSION_DENIED when it fails, prints nothing or takes longer than 10 s. The message names the
 * program only: its arguments and output may hold secrets.
 */
export async function passwordFrom(command: string[]): Promise<string> {
  const [program = '', ...args] = command;
  const name = path.basename(program);
  const fail = (what: string, cause?: unknown): SteepError =>
    new SteepError('PERMISSION_DENIED', `password_command ${name} ${what}`, {
      cause,
      hint: `run it by hand as the user of the daemon`,
    });
  const env = { ...process.env };
  delete env['PGPASSWORD'];
  return await new Promise<string>((resolve, reject) => {
    // In a process group of its own, so that the limit ends its children too.
    const child = spawn(program, args, {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
      windowsHide: true,
    });
    let output = Buffer.alloc(0);
    const end = (): void => {
      try {
        if (child.pid !== undefined)
          process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    };
    const timer = setTimeout(() => {
      end();
      reject(fail(`took longer than ${LIMIT_MS / 1000} s`));
    }, LIMIT_MS);
    child.stdout.on('data', (chunk: Buffer) => {
      output = Buffer.concat([output, chunk]);
      if (output.length <= LIMIT_BYTES) return;
      end();
      reject(fail(`printed more than ${LIMIT_BYTES / 1024} KiB`));
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(fail(`cannot be run: ${messageOf(error)}`, error));
    });
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      const password = output.toString('utf8').replace(/\r?\n[\s\S]*$/, '');
      if (status !== 0) reject(fail(signal ? `was ended by ${signal}` : `ended with exit code ${status}`));
      else if (password === '') reject(fail('printed no password'));
      else if (password.includes('\0')) reject(fail('printed a NUL byte'));
      else resolve(password);
    });
  });
}
