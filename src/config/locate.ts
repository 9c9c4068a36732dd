/** Where the configuration file is looked for. Never in the current directory, which anyone may have filled. */
import { lstatSync } from 'node:fs';
import path from 'node:path';
import { codeOf, messageOf } from '../lib/errors.ts';
import type { Env, Platform } from '../platform/index.ts';
import { expandHome } from './paths.ts';
import { ConfigError } from './problems.ts';

export const FILE_NAME = 'config.yaml';

export interface Place {
  file: string;
  from: '--config' | 'STEEP_REPL_CONFIG' | 'user' | 'system';
}

interface Where {
  /** The argument of --config; a relative one counts from the current directory. */
  path?: string | undefined;
  env: Env;
  platform: Platform;
}

/** The places in the order of looking. A file that is named outright is the only one. */
export function configPlaces({ path: given, env, platform }: Where): [Place, ...Place[]] {
  if (given !== undefined) return [{ file: path.resolve(given), from: '--config' }];
  const named = env['STEEP_REPL_CONFIG'];
  if (named) return [{ file: path.resolve(expandHome(named, env) ?? named), from: 'STEEP_REPL_CONFIG' }];
  const { user, system } = platform.configDirs(env);
  const last: Place = { file: path.join(system, FILE_NAME), from: 'system' };
  return user === undefined ? [last] : [{ file: path.join(user, FILE_NAME), from: 'user' }, last];
}

/** The first place where something is; throws ConfigError if there is none, or if it cannot be told. */
export function locateConfig(where: Where): string {
  const places = configPlaces(where);
  const found = places.find(({ file }) => isThere(file));
  if (found !== undefined) return found.file;
  const [first] = places;
  const message =
    places.length === 1 && first.from !== 'system'
      ? `the configuration file does not exist (named by ${first.from})`
      : `no configuration file; looked for ${places.map(({ file }) => file).join(' and ')}`;
  const file = first.from === 'user' || first.from === 'system' ? undefined : first.file;
  const option = first.from === '--config' ? ` --config ${where.path}` : '';
  throw new ConfigError([{ file, message, hint: `steep-repl config init${option} writes one` }]);
}

/** A symlink is there even if it leads nowhere: somebody meant it. */
function isThere(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR') return false;
    // Falling through to the next place would silently run with another configuration.
    throw new ConfigError([
      {
        file,
        message: `cannot be looked at: ${messageOf(error)}`,
        hint: 'give this user access to the folder',
      },
    ]);
  }
}
