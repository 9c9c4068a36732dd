/** Numbers of the soak. Times are generous: a slow machine must not fail it. */

/** After the end of a fault: until all follow one coordinator, and until all is well. */
export const RECOVERY_S = 90;
/** A daemon stops within 10 s; the machine may be busy. */
export const STOP_LIMIT_S = 30;
/** `/live` comes from memory. */
export const LIVE_LIMIT_MS = 30_000;
/** Until a daemon has seen changed files, or a signal. */
export const NOTICE_MS = 60_000;

export const STATE_DISK = 8 * 1024 * 1024;
export const POSTGRESQL_DISK = 2 * 1024 * 1024 * 1024;

/** Resident memory of a daemon at any time. */
export const MEMORY_MB = 200;
/** After so long a life: until then it compiles and fills its caches. */
export const WARM_MS = 120_000;
/** How much it may grow between the first and the last quarter of what follows. */
export const MEMORY_GROWTH_MB = 25;
/** Connections of the pool come and go. */
export const HANDLES_MORE = 8;
/** Of one daemon, for each fault of the run. */
export const LOG_LINES_PER_FAULT = 25;

export const DAEMON_ROLE = 'soak_daemon';
