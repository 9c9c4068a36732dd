/** The few functions of the C library that Node lacks, or answers from the environment, which is not believed. */
import { CString, dlopen, FFIType, type Pointer, ptr, read } from 'bun:ffi';
import { SteepError } from '../lib/errors.ts';

const { i32, u32 } = FFIType;

const symbols = {
  flock: { args: [i32, i32], returns: i32 },
  getpwuid: { args: [u32], returns: FFIType.ptr },
  getpwnam: { args: [FFIType.ptr], returns: FFIType.ptr },
  getgrnam: { args: [FFIType.ptr], returns: FFIType.ptr },
  getsockopt: { args: [i32, i32, i32, FFIType.ptr, FFIType.ptr], returns: i32 },
} as const;

function open() {
  const names =
    process.platform === 'darwin'
      ? ['libSystem.B.dylib']
      : ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so'];
  for (const name of names) {
    try {
      return dlopen(name, symbols).symbols;
    } catch {
      // The next name: glibc and musl differ.
    }
  }
  throw new SteepError('INTERNAL_ERROR', `no C library found among ${names.join(', ')}`);
}

let opened: ReturnType<typeof open> | undefined;
function libc(): ReturnType<typeof open> {
  opened ??= open();
  return opened;
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Locks an open file for this process alone; false when another one has it. */
export function tryLock(fd: number): boolean {
  return libc().flock(fd, LOCK_EX | LOCK_NB) === 0;
}

/** struct passwd begins: char *pw_name, char *pw_passwd, uid_t pw_uid; struct group likewise. */
const NAME_OFFSET = 0;
const ID_OFFSET = 16;

/** The name of a user id; the id itself where no user has it, as in some containers. */
export function userName(uid: number): string {
  const entry = libc().getpwuid(uid);
  return entry === null ? String(uid) : new CString(read.ptr(entry, NAME_OFFSET)).slice();
}

/** Undefined when there is no such user. */
export function userId(name: string): number | undefined {
  return idIn(libc().getpwnam(ptr(Buffer.from(`${name}\0`))));
}

/** Undefined when there is no such group. */
export function groupId(name: string): number | undefined {
  return idIn(libc().getgrnam(ptr(Buffer.from(`${name}\0`))));
}

function idIn(entry: Pointer | bigint | null): number | undefined {
  return entry === null ? undefined : read.u32(entry, ID_OFFSET);
}

/** The 32-bit numbers of a socket option, at most `capacity` of them; undefined when the socket has none. */
export function socketOption(
  fd: number,
  level: number,
  name: number,
  capacity: number,
): number[] | undefined {
  const value = new Uint32Array(capacity);
  const length = new Uint32Array([value.byteLength]);
  if (libc().getsockopt(fd, level, name, ptr(value), ptr(length)) !== 0) return undefined;
  return [...value.subarray(0, (length[0] ?? 0) / value.BYTES_PER_ELEMENT)];
}
