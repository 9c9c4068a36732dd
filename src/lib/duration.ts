/** Durations as people write them (`500ms`, `5s`, `2y`) and as programs count them: in milliseconds. */

const UNITS = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  y: 365 * 86_400_000,
} as const;

/** One whole number and one unit; also what the JSON Schema of the configuration tells editors. */
export const DURATION_PATTERN = /^\d{1,15}(ms|s|m|h|d|y)$/;

/** Milliseconds of a duration such as `90s`; a year has 365 days. Undefined if it is not written like that. */
export function parseDuration(text: string): number | undefined {
  const unit = DURATION_PATTERN.exec(text)?.[1];
  if (unit === undefined) return undefined;
  const milliseconds = Number.parseInt(text, 10) * UNITS[unit as keyof typeof UNITS];
  return Number.isSafeInteger(milliseconds) ? milliseconds : undefined;
}

/** The shortest way to write whole milliseconds exactly: 2500 is `2500ms`, 3600000 is `1h`, 0 is `0`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0';
  const [unit, size] = Object.entries(UNITS).findLast((entry) => milliseconds % entry[1] === 0) ?? ['ms', 1];
  return `${milliseconds / size}${unit}`;
}
