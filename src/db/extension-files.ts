/** The extension's files, embedded in the executable, and what is derived from them. */
import control from '../../extension/steep_repl.control' with { type: 'text' };
import install from '../../extension/steep_repl--0.1.0.sql' with { type: 'text' };
import { SteepError } from '../lib/errors.ts';

/** File name → text: all that CREATE EXTENSION and its upgrades need. A new version adds its upgrade script here. */
export type ExtensionFiles = Readonly<Record<string, string>>;

export const extensionFiles: ExtensionFiles = {
  'steep_repl.control': control,
  'steep_repl--0.1.0.sql': install,
};

/** The version that these files install: what the control file says. */
export function versionOf(files: ExtensionFiles): string {
  const version = /^default_version\s*=\s*'([^']+)'/m.exec(files['steep_repl.control'] ?? '')?.[1];
  if (version === undefined)
    throw new SteepError('INTERNAL_ERROR', 'steep_repl.control names no default_version');
  return version;
}

/** The schema version that this program knows. */
export const schemaVersion = versionOf(extensionFiles);

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

/**
 * SQL that brings an ordinary schema, made without CREATE EXTENSION, from one version (undefined: nothing there)
 * to what the files hold, and records it; one transaction. Throws FAILED when no scripts lead there.
 */
export function schemaScript(from: string | undefined, files: ExtensionFiles = extensionFiles): string {
  const version = versionOf(files);
  const scripts = from === undefined ? [files[`steep_repl--${version}.sql`]] : upgrades(from, version, files);
  return [
    'BEGIN;',
    ...scripts.map((script) => withoutExtensionOnly(script ?? '')),
    `INSERT INTO steep_repl.coordinator_state (key, value)
     VALUES ('${SCHEMA_VERSION_KEY}', to_jsonb('${version}'::text))
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now();`,
    'COMMIT;',
    '',
  ].join('\n');
}

/** Where an ordinary schema keeps its version, in `coordinator_state`. */
export const SCHEMA_VERSION_KEY = 'steep_repl.schema_version';

/** The upgrade scripts from one version to another, the longest step first at each point. */
function upgrades(from: string, to: string, files: ExtensionFiles): string[] {
  const scripts: string[] = [];
  for (let at = from; at !== to;) {
    const steps = Object.keys(files)
      .map((name) => /^steep_repl--([^-]+)--([^-]+)\.sql$/.exec(name))
      .filter((match) => match?.[1] === at)
      .map((match) => match?.[2] ?? '')
      .filter((end) => compareVersions(end, to) <= 0)
      .sort(compareVersions);
    const next = steps.at(-1);
    if (next === undefined)
      throw new SteepError('FAILED', `no upgrade leads from steep_repl ${from} to ${to}`);
    scripts.push(files[`steep_repl--${at}--${next}.sql`] ?? '');
    at = next;
  }
  return scripts;
}

/** Cuts out what only works inside CREATE EXTENSION. */
function withoutExtensionOnly(script: string): string {
  return script.replaceAll(/^-- extension-only begin$[\s\S]*?^-- extension-only end$\n?/gm, '');
}
