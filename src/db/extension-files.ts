/** The extension's files, embedded in the executable. */
import control from '../../extension/steep_repl.control' with { type: 'text' };
import install from '../../extension/steep_repl--0.1.0.sql' with { type: 'text' };

/** Every file that CREATE EXTENSION and its upgrades need, by name. A new version adds its upgrade script here. */
export const extensionFiles: Record<string, string> = {
  'steep_repl.control': control,
  'steep_repl--0.1.0.sql': install,
};

/** The schema version that this program knows: what the control file says. */
export const schemaVersion = /^default_version\s*=\s*'([^']+)'/m.exec(control)?.[1] ?? '';

/** Less than, equal to or greater than 0, part by part as numbers: 0.10.0 is newer than 0.9.0. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
