/** The few functions of the C library that Node lacks, or answers from the environment, which is not believed. */
import { CString, dlopen, FFIType, type Pointer, ptr, read } from 'bun:ffi';
import { SteepError } from '../lib/errors.ts';

const { i32, u32, u64, i64_fast } = FFIType;

const symbols = {
  openat: { args: [i32, FFIType.ptr, i32], returns: i32 },
  flock: { args: [i32, i32], returns: i32 },
  getpwuid: { args: [u32], returns: FFIType.ptr },
  getpwnam: { args: [FFIType.ptr], returns: FFIType.ptr },
  getgrnam: { args: [FFIType.ptr], returns: FFIType.ptr },
  getsockopt: { args: [i32, i32, i32, FFIType.ptr, FFIType.ptr], returns: i32 },
  socket: { args: [i32, i32, i32], returns: i32 },
  sendto: { args: [i32, FFIType.ptr, u64, i32, FFIType.ptr, u32], returns: i64_fast },
  close: { args: [i32], returns: i32 },
  clock_gettime: { args: [i32, FFIType.ptr], returns: i32 },
  openlog: { args: [FFIType.ptr, i32, i32], returns: FFIType.void },
  syslog: { args: [i32, FFIType.ptr], returns: FFIType.void },
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

/** Opens a file of an open folder; undefined: not to be had. Nothing that `flags` would make it create. */
export function openIn(folder: number, name: string, flags: number): number | undefined {
  const fd = libc().openat(folder, ptr(Buffer.from(`${name}\0`)), flags);
  return fd < 0 ? undefined : fd;
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
/** Of struct passwd: gid_t pw_gid. */
const GROUP_OFFSET = 20;

/** The name of a user id; the id itself where no user has it, as in some containers. */
export function userName(uid: number): string {
  const entry = libc().getpwuid(uid);
  return entry === null ? String(uid) : new CString(read.ptr(entry, NAME_OFFSET)).slice();
}

/** Undefined when there is no such user. */
export function userId(name: string): number | undefined {
  return idIn(libc().getpwnam(ptr(Buffer.from(`${name}\0`))));
}

/** The main group of a user; undefined when there is no such user. */
export function groupOfUser(name: string): number | undefined {
  const entry = libc().getpwnam(ptr(Buffer.from(`${name}\0`)));
  return entry === null ? undefined : read.u32(entry, GROUP_OFFSET);
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

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;

/** Sends one datagram to a Unix socket of Linux (`@name`: an abstract one), which Node cannot; false: nobody took it. */
export function sendDatagram(address: string, text: string): boolean {
  const { socket, sendto, close } = libc();
  const path = Buffer.from(address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`);
  const target = Buffer.alloc(2 + path.length);
  target.writeUInt16LE(AF_UNIX, 0);
  path.copy(target, 2);
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const data = Buffer.from(text);
  const sent = sendto(fd, ptr(data), data.length, MSG_NOSIGNAL, ptr(target), target.length);
  close(fd);
  return Number(sent) === data.length;
}

const CLOCK_MONOTONIC = 1;

/** Linux's monotonic clock in microseconds, as other processes read it; Bun's own begins with the process. */
export function monotonicMicroseconds(): bigint {
  const time = new BigInt64Array(2); // struct timespec
  libc().clock_gettime(CLOCK_MONOTONIC, ptr(time));
  return (time[0] ?? 0n) * 1_000_000n + (time[1] ?? 0n) / 1000n;
}

const LOG_PID = 1;
const LOG_DAEMON = 3 << 3;

/** A function that writes lines to syslog under this name; priorities are those of syslog(3). */
export function openSystemLog(name: string): (priority: number, text: string) => void {
  const identity = Buffer.from(`${name}\0`); // openlog keeps the pointer
  libc().openlog(ptr(identity), LOG_PID, LOG_DAEMON);
  return (priority, text) => {
    // The format of a variadic function, whose other arguments FFI could not pass on all machines: so there are none.
    const format = Buffer.from(`${text.replaceAll('%', '%%').replaceAll('\0', '')}\0`);
    libc().syslog(priority, ptr(format));
    void identity;
  };
}
