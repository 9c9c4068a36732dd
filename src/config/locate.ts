/** Where the configuration file is looked for. Never in the current directory, which anyone may have filled. */
import { lstatSync } from 'node:fs';
import path from 'node:path';
import { codeOf, messageOf } from '../lib/errors.ts';
import type { Env, Platform } from '../platform/index.ts';
import { expandHome } from './paths.ts';
import { ConfigError } from './problems.ts';

const FILE_NAME = 'config.yaml';

export interface Place {
  from: '--config' | 'STEEP_REPL_CONFIG' | 'user' | 'system';
  /** Undefined: not given, or a user without home folder. */
  file: string | undefined;
}

export interface Where {
  /** The argument of --config; a relative one counts from the current directory. */
  path?: string | undefined;
  env: Env;
  platform: Platform;
}

/** All four places in the order of looking. The first two, when given, end the search whether the file exists or not. */
export function lookupOrder({ path: option, env, platform }: Where): [Place, Place, Place, Place] {
  const variable = env['STEEP_REPL_CONFIG'];
  const { user, system } = platform.configDirs(env);
  return [
    { from: '--config', file: option === undefined ? undefined : path.resolve(option) },
    {
      from: 'STEEP_REPL_CONFIG',
      file: variable ? path.resolve(expandHome(variable, env) ?? variable) : undefined,
    },
    { from: 'user', file: user === undefined ? undefined : path.join(user, FILE_NAME) },
    { from: 'system', file: path.join(system, FILE_NAME) },
  ];
}

/** The file to use. Throws ConfigError if there is none, or if it cannot be told. */
export function locateConfig(where: Where): string {
  const [option, variable, ...usual] = lookupOrder(where);
  for (const { from, file } of [option, variable]) {
    if (file === undefined) continue;
    if (isThere(file)) return file;
    const hint = `steep-repl config init${from === '--config' ? ` --config ${where.path}` : ''} writes one`;
    throw new ConfigError([
      { file, message: `the configuration file does not exist (named by ${from})`, hint },
    ]);
  }
  const files = usual.flatMap(({ file }) => file ?? []);
  const found = files.find(isThere);
  if (found !== undefined) return found;
  const message = `no configuration file; looked for ${files.join(' and ')}`;
  throw new ConfigError([{ message, hint: 'steep-repl config init writes one' }]);
}

/** Whether anything has this name. A symlink is there even if it leads nowhere: somebody meant it. */
export function isThere(file: string): boolean {
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
