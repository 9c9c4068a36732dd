/** Times and amounts as they are given in options. */
import { parseDuration } from '../lib/duration.ts';
import { SteepError } from '../lib/errors.ts';

/** A duration counts back from now; a date or time without a zone is local. Throws INVALID_REQUEST. */
export function timeFrom(option: string, text: string): Date {
  const ago = parseDuration(text);
  const time =
    ago === undefined
      ? Date.parse(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00` : text)
      : Date.now() - ago;
  if (!Number.isNaN(time)) return new Date(time);
  throw new SteepError(
    'INVALID_REQUEST',
    `${option} ${text}: neither a duration (1h) nor a time (2026-01-31T14:00:00Z)`,
  );
}

/** The value of -n. Throws INVALID_REQUEST. */
export function countFrom(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw new SteepError('INVALID_REQUEST', `-n ${text}: not a number of entries`);
}
