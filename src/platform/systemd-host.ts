/** The daemon under systemd: sd_notify(3), by datagrams to the socket that NOTIFY_SOCKET names. */
import { monotonicMicroseconds, sendDatagram } from './libc.ts';
import type { Env } from './platform.ts';
import type { ServiceHost } from './service.ts';

/** Often enough that a late timer or two does not look like a hung process. */
const PINGS_PER_DEADLINE = 4;

export function systemdHost(env: Env): ServiceHost | undefined {
  const address = env['NOTIFY_SOCKET'];
  if (!address) return undefined;
  const tell = (...lines: string[]): void => void sendDatagram(address, lines.join('\n'));
  return {
    ready: () => tell('READY=1'),
    status: (text) => tell(`STATUS=${text.replaceAll('\n', ' ')}`),
    // The time tells a systemd that waits for the end of this reload from those of earlier ones.
    reloading: () => tell('RELOADING=1', `MONOTONIC_USEC=${monotonicMicroseconds()}`),
    stopping: () => tell('STOPPING=1', 'STATUS=Stopping'),
    alive: () => tell('WATCHDOG=1'),
    watchdogMs: watchdogMs(env),
    log: undefined, // stderr is the journal, lines begin with their priority
    ended: (code) => code,
  };
}

function watchdogMs(env: Env): number | undefined {
  const deadline = Number(env['WATCHDOG_USEC']) / 1000;
  const meant = env['WATCHDOG_PID'];
  if (!(deadline > 0) || (meant !== undefined && Number(meant) !== process.pid)) return undefined;
  return Math.max(1, Math.floor(deadline / PINGS_PER_DEADLINE));
}
