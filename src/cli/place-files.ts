/** Puts the extension's files where PostgreSQL finds them. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { extensionFiles } from '../db/extension-files.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { childEnv } from '../lib/child-env.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { readPlainFile } from '../lib/plain-file.ts';

const PG_CONFIG_LIMIT_MS = 10_000;

/** `SHAREDIR` of the installation that a pg_config belongs to. Throws FAILED. */
export function sharedirOf(pgConfig: string): string {
  let result;
  try {
    result = Bun.spawnSync([pgConfig, '--sharedir'], {
      env: childEnv(),
      stdin: 'ignore',
      timeout: PG_CONFIG_LIMIT_MS,
    });
  } catch (error) {
    throw new SteepError('FAILED', `${pgConfig} cannot be run: ${messageOf(error)}`, { cause: error });
  }
  const sharedir = result.stdout.toString().trim();
  if (result.exitCode !== 0 || !path.isAbsolute(sharedir))
    throw new SteepError('FAILED', `${pgConfig} --sharedir names no folder`, {
      hint: 'is that the pg_config of PostgreSQL 18?',
    });
  return sharedir;
}

/**
 * Writes the files into `<folder>/extension/`, each whole or not at all; the paths of those that changed.
 * Throws PERMISSION_DENIED or FAILED.
 */
export function placeFiles(folder: string): string[] {
  const extension = path.join(path.resolve(folder), 'extension');
  try {
    mkdirSync(extension, { recursive: true, mode: 0o755 });
    return Object.entries(extensionFiles).flatMap(([name, text]) => {
      const file = path.join(extension, name);
      if (contentOf(file) === text) return [];
      writeFileAtomic(file, text, 0o644);
      return [file];
    });
  } catch (error) {
    const denied = ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '');
    throw new SteepError(
      denied ? 'PERMISSION_DENIED' : 'FAILED',
      `cannot write ${extension}: ${messageOf(error)}`,
      {
        cause: error,
        hint: 'run it as a user who may, use --dir with extension_control_path, or --no-files',
      },
    );
  }
}

function contentOf(file: string): string | undefined {
  try {
    return readPlainFile(file);
  } catch {
    return undefined;
  }
}
