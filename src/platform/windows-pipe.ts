/** Named pipes of the daemon. Bun makes them with default rights, so the rights are set before anything is served. */
import { dlopen, FFIType, ptr } from 'bun:ffi';
import type net from 'node:net';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';

const { i32, u32, i64_fast } = FFIType;

/**
 * Nobody over the network; the system, administrators and the owner all. The other end of a pipe cannot be
 * identified, so whoever gets in may change things: no one else does.
 */
const RIGHTS = 'D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;OW)';
const READ_CONTROL_WRITE_DAC = 0x00060000;
const SHARE_READ_WRITE = 3;
const OPEN_EXISTING = 3;
const DACL_SECURITY_INFORMATION = 4;
const INVALID_HANDLE = -1;

export async function listenOnPipe(server: net.Server, address: string): Promise<AsyncDisposable> {
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
        setRights(address);
        resolve();
      } catch (error) {
        server.close();
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

function setRights(address: string): void {
  const kernel = dlopen('kernel32.dll', {
    CreateFileW: { args: [FFIType.ptr, u32, u32, FFIType.ptr, u32, u32, FFIType.ptr], returns: i64_fast },
    CloseHandle: { args: [i64_fast], returns: i32 },
    GetLastError: { args: [], returns: u32 },
    LocalFree: { args: [i64_fast], returns: FFIType.ptr },
  }).symbols;
  const security = dlopen('advapi32.dll', {
    ConvertStringSecurityDescriptorToSecurityDescriptorW: {
      args: [FFIType.ptr, u32, FFIType.ptr, FFIType.ptr],
      returns: i32,
    },
    SetKernelObjectSecurity: { args: [i64_fast, u32, i64_fast], returns: i32 },
  }).symbols;
  const fail = (what: string): SteepError =>
    new SteepError('FAILED', `${what} for ${address} failed: Windows error ${kernel.GetLastError()}`);
  const descriptor = new BigUint64Array(1);
  const wide = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf16le');
  if (
    !security.ConvertStringSecurityDescriptorToSecurityDescriptorW(
      ptr(wide(RIGHTS)),
      1,
      ptr(descriptor),
      null,
    )
  )
    throw fail('making access rights');
  const rights = descriptor[0] ?? 0n;
  const pipe = kernel.CreateFileW(
    ptr(wide(address)),
    READ_CONTROL_WRITE_DAC,
    SHARE_READ_WRITE,
    null,
    OPEN_EXISTING,
    0,
    null,
  );
  try {
    if (Number(pipe) === INVALID_HANDLE) throw fail('opening the pipe');
    if (!security.SetKernelObjectSecurity(pipe, DACL_SECURITY_INFORMATION, rights))
      throw fail('setting access rights');
  } finally {
    if (Number(pipe) !== INVALID_HANDLE) kernel.CloseHandle(pipe);
    kernel.LocalFree(rights);
  }
}
