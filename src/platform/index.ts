import { SteepError } from '../lib/errors.ts';
import { linux } from './linux.ts';
import { macos } from './macos.ts';
import type { Platform } from './platform.ts';
import { windows } from './windows.ts';

export type { Env, Exposure, IpcAccess, IpcAddresses, Platform } from './platform.ts';
export type {
  LogEntry,
  ServiceHost,
  ServiceManager,
  ServiceOptions,
  ServiceScope,
  ServiceState,
  Step,
} from './service.ts';

/** The platform this process runs on. */
export function thisPlatform(): Platform {
  switch (process.platform) {
    case 'linux':
      return linux;
    case 'darwin':
      return macos;
    case 'win32':
      return windows;
    default:
      throw new SteepError('FAILED', `steep-repl does not run on ${process.platform}`);
  }
}
