/** Named pipes of the daemon. Bun makes them with default rights, so the rights are set before anything is served. */
import type { Pointer } from 'bun:ffi';
import type net from 'node:net';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import type { IpcAccess } from './platform.ts';
import { kernel32, wide, windowsError } from './windows-api.ts';
import { accountSid, setHandleRights } from './windows-security.ts';

/**
 * Nobody over the network; the system, administrators and the owner all, and who `ipc.group` names may talk. The
 * other end of a pipe cannot be identified, so whoever gets in may change things: no one else does.
 */
const RIGHTS = 'D:P(D;;FA;;;NU)(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)';
/** What a client asks for that reads and writes: FILE_GENERIC_READ and FILE_GENERIC_WRITE. */
const READ_WRITE = '0x12019f';
const READ_CONTROL_WRITE_DAC = 0x00060000;
const SHARE_READ_WRITE = 3;
const OPEN_EXISTING = 3;
const INVALID_HANDLE = -1;

export async function listenOnPipe(
  server: net.Server,
  address: string,
  { group }: IpcAccess,
): Promise<AsyncDisposable> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const inUse = codeOf(error) === 'EADDRINUSE' || codeOf(error) === 'EACCES';
      reject(
        new SteepError(inUse ? 'CONFLICT' : 'FAILED', `cannot listen on ${address}: ${messageOf(error)}`, {
          cause: error,
          hint: 'is another daemon running? Stop it, or set ipc.path',
        }),
      );
    });
    server.listen(address, () => {
      try {
        giveRights(address, group);
        resolve();
      } catch (error) {
        server.close();
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

function giveRights(address: string, group: string | undefined): void {
  const rights = group === undefined ? RIGHTS : `${RIGHTS}(A;;${READ_WRITE};;;${accountSid(group)})`;
  const { CreateFileW, CloseHandle } = kernel32();
  const pipe = CreateFileW(
    wide(address),
    READ_CONTROL_WRITE_DAC,
    SHARE_READ_WRITE,
    null,
    OPEN_EXISTING,
    0,
    null,
  );
  if (Number(pipe) === INVALID_HANDLE) throw windowsError(`opening ${address}`);
  try {
    setHandleRights(pipe, rights, address);
  } finally {
    CloseHandle(Number(pipe) as Pointer);
  }
}
