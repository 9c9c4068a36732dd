/** What a reload may change while the daemon runs, and what has to wait for a restart. */
import type { Config } from '../config/schema.ts';

export interface Reloaded {
  /** The values in force from now on. */
  config: Config;
  /** Keys that changed and are in force. */
  applied: string[];
  /** Keys that changed in the file and need a restart. */
  pending: string[];
}

/**
 * Takes level, retention and intervals from `fresh`, and leaves everything else as it runs. docs/configuration.md tells
 * which keys these are: it is made with this function (`npm run docs`).
 */
export function mergeReloaded(running: Config, fresh: Config): Reloaded {
  const config: Config = {
    ...running,
    audit: fresh.audit,
    heartbeat: fresh.heartbeat,
    election: { ...running.election, lease: fresh.election.lease },
    log: { ...running.log, level: fresh.log.level },
  };
  return { config, applied: changedKeys(running, config), pending: changedKeys(config, fresh) };
}

function changedKeys(before: unknown, after: unknown, prefix = ''): string[] {
  if (!isSection(before) || !isSection(after)) return Bun.deepEquals(before, after) ? [] : [prefix];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) =>
    changedKeys(before[key], after[key], prefix === '' ? key : `${prefix}.${key}`),
  );
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
