/** What every file that calls Windows needs: strings, pointers, handles, and errors that say what failed. */
import { dlopen, type FFIFunction, FFIType, type Pointer, ptr, read } from 'bun:ffi';
import { type ErrorCode, SteepError } from '../lib/errors.ts';

const { i32, u32 } = FFIType;
/** Handles and pointers: numbers to us, with null for 0. */
const p = FFIType.ptr;

function openKernel() {
  return dlopen('kernel32.dll', {
    CloseHandle: { args: [p], returns: i32 },
    CreateFileW: { args: [p, u32, u32, p, u32, u32, p], returns: FFIType.i64_fast },
    CreateThread: { args: [p, FFIType.u64, p, p, u32, p], returns: p },
    FormatMessageW: { args: [u32, p, u32, u32, p, u32, p], returns: u32 },
    GetCurrentProcess: { args: [], returns: FFIType.i64_fast }, // -1: no pointer could hold it
    GetLastError: { args: [], returns: u32 },
    GetModuleHandleW: { args: [p], returns: p },
    GetProcAddress: { args: [p, p], returns: p },
    GetSystemDirectoryW: { args: [p, u32], returns: u32 },
    LocalFree: { args: [p], returns: p },
    LockFileEx: { args: [FFIType.i64_fast, u32, u32, u32, u32, p], returns: i32 },
    OpenProcess: { args: [u32, i32, u32], returns: p },
    WaitForSingleObject: { args: [p, u32], returns: u32 },
  }).symbols;
}

let kernel: ReturnType<typeof openKernel> | undefined;
export function kernel32(): ReturnType<typeof openKernel> {
  kernel ??= openKernel();
  return kernel;
}

/**
 * The functions of a library, opened when first needed. Opening one resets what GetLastError would say of the call
 * before, so that function is there first.
 */
export function library<const Functions extends Record<string, FFIFunction>>(
  name: string,
  functions: Functions,
): () => ReturnType<typeof dlopen<Functions>>['symbols'] {
  let opened: ReturnType<typeof dlopen<Functions>>['symbols'] | undefined;
  return () => {
    kernel32();
    opened ??= dlopen(name, functions).symbols;
    return opened;
  };
}

/** A string as Windows takes it. */
export function wide(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf16le');
}

/** The text at an address; '' for none. */
export function textAt(address: Pointer | null): string {
  if (address === null) return '';
  const units: number[] = [];
  for (let at = 0; ; at += 2) {
    const unit = read.u16(address, at);
    if (unit === 0) return String.fromCharCode(...units);
    units.push(unit);
  }
}

/** A program of Windows by its full name: a bare one would be looked for in the current folder first. */
export function systemProgram(name: string): string {
  const folder = Buffer.alloc(1024);
  const length = kernel32().GetSystemDirectoryW(folder, folder.length / 2);
  return `${folder.toString('utf16le', 0, length * 2)}\\${name}`;
}

/** The pointer that a structure holds; null for none. */
export function pointerIn(bytes: Buffer, offset: number): Pointer | null {
  return (Number(bytes.readBigUInt64LE(offset)) || null) as Pointer | null;
}

/** A structure of numbers (32 bits), pointers and padding; the buffers it points to live as long as it does. */
export function structure(...fields: (number | bigint | Buffer | null)[]): Buffer {
  const held: Buffer[] = [];
  const parts = fields.map((field) => {
    const part = Buffer.alloc(typeof field === 'number' ? 4 : 8);
    if (typeof field === 'number') part.writeUInt32LE(field);
    if (typeof field === 'bigint') part.writeBigUInt64LE(field);
    if (field instanceof Buffer) {
      held.push(field);
      part.writeBigUInt64LE(BigInt(ptr(field)));
    }
    return part;
  });
  return Object.assign(Buffer.concat(parts), { held });
}

const ACCESS_DENIED = 5;
const PRIVILEGE_NOT_HELD = 1314;
const SERVICE_DOES_NOT_EXIST = 1060;

const CODES: Record<number, ErrorCode> = {
  [ACCESS_DENIED]: 'PERMISSION_DENIED',
  [PRIVILEGE_NOT_HELD]: 'PERMISSION_DENIED',
  [SERVICE_DOES_NOT_EXIST]: 'NOT_RUNNING',
};

/** The error of the call that just failed, or of a code that a call returned. */
export function windowsError(what: string, code = kernel32().GetLastError()): SteepError {
  return new SteepError(CODES[code] ?? 'FAILED', `${what}: ${messageFor(code)} (Windows error ${code})`);
}

const FROM_SYSTEM_IGNORING_INSERTS = 0x1200;

/** In the language of the machine. */
export function messageFor(code: number): string {
  const text = Buffer.alloc(1024);
  const flags = FROM_SYSTEM_IGNORING_INSERTS;
  const length = kernel32().FormatMessageW(flags, null, code, 0, text, text.length / 2, null);
  const message = text.toString('utf16le', 0, length * 2).trim();
  return message === '' ? 'failed' : message.replace(/\.$/, '');
}
