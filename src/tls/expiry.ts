/** How lifetimes are said, and from when on they are worth a warning. */

/** 30 days, as `status`, metrics, log and `tls show` warn. */
export const EXPIRY_WARNING_MS = 30 * 86_400_000;

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const;

/** `3 days`, `1 hour`, `40 seconds`: whole ones of the largest unit that fits. Takes milliseconds. */
export function spanOf(milliseconds: number): string {
  const span = Math.abs(milliseconds);
  const [name, size] = UNITS.find(([, unit]) => span >= unit) ?? UNITS[3];
  const count = Math.floor(span / size);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

/** `expired 3 days ago` or `not valid before 2026-01-31T00:00:00Z (in 2 hours)`; undefined while it is valid. */
export function invalidityOf(notBefore: Date, notAfter: Date, now: Date): string | undefined {
  const time = now.getTime();
  if (time > notAfter.getTime()) return `expired ${spanOf(time - notAfter.getTime())} ago`;
  if (time < notBefore.getTime())
    return `not valid before ${rfc3339(notBefore)} (in ${spanOf(notBefore.getTime() - time)})`;
  return undefined;
}

/** Whole days until then; negative when it is over. */
export function daysUntil(date: Date, now: Date): number {
  return Math.floor((date.getTime() - now.getTime()) / 86_400_000);
}

/** RFC 3339 in whole seconds, which is all that certificates hold. */
export function rfc3339(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
