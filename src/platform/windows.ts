/** Windows. Access rights between users live in ACLs, which file modes do not show. */
import type { Pointer } from 'bun:ffi';
import { userInfo } from 'node:os';
import path from 'node:path';
import type { Env, FileLock, Platform } from './platform.ts';
import { kernel32, wide, windowsError } from './windows-api.ts';
import { listenOnPipe } from './windows-pipe.ts';
import { SERVICE_NAME } from './windows-install.ts';
import { isAdministrator } from './windows-security.ts';
import { connectToScm } from './windows-service-host.ts';
import { windowsServiceManager } from './windows-service.ts';

function folder(env: Env, variable: string, fallback: string, name: string): string {
  return path.win32.join(env[variable] ?? fallback, name);
}

function inProfile(env: Env, variable: string, name: string): string | undefined {
  return env[variable] ? path.win32.join(env[variable], name) : undefined;
}

const PROGRAM_DATA = String.raw`C:\ProgramData`;

export const windows: Platform = {
  os: 'windows',
  configDirs: (env) => ({
    system: folder(env, 'PROGRAMDATA', PROGRAM_DATA, 'steep'),
    user: inProfile(env, 'APPDATA', 'steep'),
  }),
  stateBases: (env) => ({
    system: folder(env, 'PROGRAMDATA', PROGRAM_DATA, String.raw`steep\state`),
    user: inProfile(env, 'LOCALAPPDATA', String.raw`steep\state`),
  }),
  runtimeDirs: () => ({ system: undefined, user: undefined }),
  currentUser: () => ({ name: userInfo().username, uid: undefined, privileged: isAdministrator() }),
  writableByOthers: () => undefined, // `install` sets the ACL of %PROGRAMDATA%\steep; a profile is private
  replaceableByOthers: () => undefined,
  readableByOthers: () => undefined,
  lockFile,
  ipcAddresses: () => ({ private: String.raw`\\.\pipe\steep-repl`, shared: undefined }),
  listenLocally: listenOnPipe,
  peerOf: () => undefined, // the other end of a pipe cannot be identified
  distrust: () => undefined,
  distrustPeer: () => undefined,
  listenerOf: () => undefined,
  serviceManager: (scope, env) => windowsServiceManager(scope, windows.configDirs(env).system),
  serviceHost: () => undefined, // the SCM starts `steep-repl service`
  connectToServiceManager: (obey) => connectToScm(SERVICE_NAME, obey),
};

const GENERIC_READ_WRITE = 0xc0000000;
const SHARE_READ_WRITE = 3;
const OPEN_ALWAYS = 4;
const FILE_ATTRIBUTE_NORMAL = 0x80;
const INVALID_HANDLE = -1;
const LOCK_AT_ONCE_EXCLUSIVELY = 3;
const ERROR_LOCK_VIOLATION = 33;
/** The byte that is locked, far behind the content: locks of Windows are mandatory, and the pid is to be read. */
const LOCKED_BYTE = 0x4000_0000;

/** Locks one byte of an open file: the kernel gives it back with the process, however that ends. */
function lockFile(file: string): FileLock | 'held' {
  const { CreateFileW, LockFileEx, CloseHandle } = kernel32();
  const handle = CreateFileW(
    wide(file),
    GENERIC_READ_WRITE,
    SHARE_READ_WRITE,
    null,
    OPEN_ALWAYS,
    FILE_ATTRIBUTE_NORMAL,
    null,
  );
  if (Number(handle) === INVALID_HANDLE) throw windowsError(`cannot open ${file}`);
  const overlapped = Buffer.alloc(32); // Internal, InternalHigh, Offset, OffsetHigh, hEvent
  overlapped.writeUInt32LE(LOCKED_BYTE, 16);
  if (LockFileEx(handle, LOCK_AT_ONCE_EXCLUSIVELY, 0, 1, 0, overlapped) !== 0)
    return { release: () => void CloseHandle(Number(handle) as Pointer) };
  const failure = kernel32().GetLastError();
  CloseHandle(Number(handle) as Pointer);
  if (failure === ERROR_LOCK_VIOLATION) return 'held';
  throw windowsError(`cannot lock ${file}`, failure);
}
