/** The service control manager of Windows (SCM): the calls, with their structures told as objects. */
import { FFIType, type Pointer } from 'bun:ffi';
import { kernel32, library, pointerIn, textAt, wide, windowsError } from './windows-api.ts';

const { i32, u32 } = FFIType;
const p = FFIType.ptr;

const advapi32 = library('advapi32.dll', {
  ChangeServiceConfig2W: { args: [p, u32, p], returns: i32 },
  ChangeServiceConfigW: { args: [p, u32, u32, u32, p, p, p, p, p, p, p], returns: i32 },
  CloseServiceHandle: { args: [p], returns: i32 },
  ControlService: { args: [p, u32, p], returns: i32 },
  CreateServiceW: { args: [p, p, p, u32, u32, u32, u32, p, p, p, p, p, p], returns: p },
  DeleteService: { args: [p], returns: i32 },
  OpenSCManagerW: { args: [p, p, u32], returns: p },
  OpenServiceW: { args: [p, p, u32], returns: p },
  QueryServiceConfig2W: { args: [p, u32, p, u32, p], returns: i32 },
  QueryServiceConfigW: { args: [p, p, u32, p], returns: i32 },
  QueryServiceStatusEx: { args: [p, i32, p, u32, p], returns: i32 },
  StartServiceW: { args: [p, u32, p], returns: i32 },
});

/** States of a service, by their numbers. */
const STATES = [
  'unknown',
  'stopped',
  'start pending',
  'stop pending',
  'running',
  'continue pending',
  'pause pending',
  'paused',
] as const;

export interface ServiceStatus {
  state: (typeof STATES)[number];
  /** Windows' reason for the end; 1066 when the service gave one of its own. */
  exitCode: number;
  ownExitCode: number;
  pid: number;
}

export interface ServiceConfig {
  startType: number;
  commandLine: string;
  account: string;
}

const CONNECT = 1;
const CREATE_SERVICE = 2;

/** What a handle of a service is opened for. */
export const ACCESS = {
  query: 0x5, // configuration and status
  change: 0x17, // besides: change the configuration, start (restart actions need it)
  start: 0x14,
  stop: 0x24,
  reload: 0x44,
  delete: 0x1_0000,
} as const;

const OWN_PROCESS = 0x10;
const AUTO_START = 2;
const ERROR_NORMAL = 1;
const LARGEST_ANSWER = 8192; // the most that QueryServiceConfig gives

/** One service, open; undefined when there is none of that name. Throws PERMISSION_DENIED, FAILED. */
export class Service implements Disposable {
  readonly name: string;
  private readonly handle: Pointer;

  private constructor(name: string, handle: Pointer) {
    this.name = name;
    this.handle = handle;
  }

  static open(name: string, access: number): Service | undefined {
    return withManager(CONNECT, (manager) => {
      const handle = advapi32().OpenServiceW(manager, wide(name), access) as Pointer | null;
      if (handle !== null) return new Service(name, handle);
      const error = windowsError(`service ${name}`);
      if (error.code === 'NOT_RUNNING') return undefined;
      throw error;
    });
  }

  /** Starts with the machine. Throws also when it is there already. */
  static create(
    name: string,
    displayName: string,
    { commandLine, account }: Omit<ServiceConfig, 'startType'>,
  ): void {
    withManager(CONNECT | CREATE_SERVICE, (manager) => {
      const handle = advapi32().CreateServiceW(
        manager,
        wide(name),
        wide(displayName),
        ACCESS.query,
        OWN_PROCESS,
        AUTO_START,
        ERROR_NORMAL,
        wide(commandLine),
        null,
        null,
        null,
        wide(account),
        null,
      ) as Pointer | null;
      if (handle === null) throw windowsError(`creating service ${name}`);
      advapi32().CloseServiceHandle(handle);
    });
  }

  change({ commandLine, account }: Omit<ServiceConfig, 'startType'>): void {
    const done = advapi32().ChangeServiceConfigW(
      this.handle,
      OWN_PROCESS,
      AUTO_START,
      ERROR_NORMAL,
      wide(commandLine),
      null,
      null,
      null,
      wide(account),
      null,
      null,
    );
    if (!done) throw windowsError(`changing service ${this.name}`);
  }

  config(): ServiceConfig {
    const answer = Buffer.alloc(LARGEST_ANSWER);
    if (!advapi32().QueryServiceConfigW(this.handle, answer, answer.length, Buffer.alloc(4)))
      throw windowsError(`the configuration of service ${this.name}`);
    // QUERY_SERVICE_CONFIG: type, start, error control, path, group, tag, dependencies, account, display name
    return {
      startType: answer.readUInt32LE(4),
      commandLine: textAt(pointerIn(answer, 16)),
      account: textAt(pointerIn(answer, 48)),
    };
  }

  /** One of the settings of ChangeServiceConfig2; undefined where Windows does not know it. */
  setting(level: number): Buffer | undefined {
    const answer = Buffer.alloc(LARGEST_ANSWER);
    const done = advapi32().QueryServiceConfig2W(this.handle, level, answer, answer.length, Buffer.alloc(4));
    return done ? answer : undefined;
  }

  set(level: number, value: Buffer, what: string): void {
    if (!advapi32().ChangeServiceConfig2W(this.handle, level, value))
      throw windowsError(`setting ${what} of service ${this.name}`);
  }

  status(): ServiceStatus {
    const answer = Buffer.alloc(36); // SERVICE_STATUS_PROCESS
    if (!advapi32().QueryServiceStatusEx(this.handle, 0, answer, answer.length, Buffer.alloc(4)))
      throw windowsError(`the status of service ${this.name}`);
    return {
      state: STATES[answer.readUInt32LE(4)] ?? 'unknown',
      exitCode: answer.readUInt32LE(12),
      ownExitCode: answer.readUInt32LE(16),
      pid: answer.readUInt32LE(28),
    };
  }

  /** 0, or Windows' error. */
  start(): number {
    return advapi32().StartServiceW(this.handle, 0, null) ? 0 : kernel32().GetLastError();
  }

  /** 0, or Windows' error. */
  control(code: number): number {
    const status = Buffer.alloc(28); // SERVICE_STATUS
    return advapi32().ControlService(this.handle, code, status) ? 0 : kernel32().GetLastError();
  }

  delete(): void {
    if (!advapi32().DeleteService(this.handle)) throw windowsError(`deleting service ${this.name}`);
  }

  [Symbol.dispose](): void {
    advapi32().CloseServiceHandle(this.handle);
  }
}

function withManager<T>(access: number, use: (manager: Pointer) => T): T {
  const manager = advapi32().OpenSCManagerW(null, null, access) as Pointer | null;
  if (manager === null) throw windowsError('the service control manager');
  try {
    return use(manager);
  } finally {
    advapi32().CloseServiceHandle(manager);
  }
}
