/** How times and amounts are written for people. */

/** `45s`, `5m32s`, `3h05m`, `12d4h`: the two largest units. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n: number): string => String(n).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d${Math.floor((whole % 86_400) / 3600)}h`;
}

/** Seconds from an RFC 3339 time until now. */
export function secondsSince(time: string): number {
  return (Date.now() - Date.parse(time)) / 1000;
}

/** Local time with its zone on a terminal, `2026-01-31 14:05:09 +01:00`; RFC 3339 elsewhere. */
export function formatTime(time: string): string {
  if (!process.stdout.isTTY) return time;
  const date = new Date(time);
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString();
  const hours = String(Math.floor(Math.abs(offset) / 60)).padStart(2, '0');
  const minutes = String(Math.abs(offset) % 60).padStart(2, '0');
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${offset < 0 ? '-' : '+'}${hours}:${minutes}`;
}

type Colour = 'red' | 'yellow' | 'green' | 'dim';
const codes: Record<Colour, number> = { red: 31, yellow: 33, green: 32, dim: 90 };

/** Coloured for a terminal; the printing functions take the colour out elsewhere. */
export function colour(name: Colour, text: string): string {
  return `\u001B[${codes[name]}m${text}\u001B[0m`;
}

/** Of a node's status. */
export const statusColours = {
  healthy: 'green',
  unknown: 'dim',
  degraded: 'yellow',
  offline: 'dim',
  unreachable: 'red',
} as const;
