/** The daemon under launchd, which asks nothing of its processes but their exit code; the log goes to syslog(3). */
import type { LogLevel } from '../lib/log.ts';
import { openSystemLog } from './libc.ts';
import type { Env } from './platform.ts';
import type { ServiceHost } from './service.ts';

/** Those of syslog(3); macOS keeps notices on disk, but what is only for information in memory for minutes. */
const PRIORITIES: Record<LogLevel, number> = { error: 3, warn: 4, info: 5, debug: 7 };
/** A configuration that cannot be used. */
const USAGE = 2;

export function launchdHost(env: Env): ServiceHost | undefined {
  if (!env['STEEP_SERVICE_SCOPE']) return undefined; // only the property list sets it
  const write = openSystemLog('steep-repl');
  return {
    ready() {},
    status() {},
    reloading() {},
    stopping() {},
    alive() {},
    watchdogMs: undefined,
    log: (line, level) => write(PRIORITIES[level], line.trimEnd()),
    // launchd knows success and failure only, and would try a wrong configuration again for ever.
    ended: (code) => (code === USAGE ? 0 : code),
  };
}
