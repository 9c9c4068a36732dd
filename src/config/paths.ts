/** `~` and relative paths in the configuration. */
import path from 'node:path';
import type { Env } from '../platform/index.ts';

/** `~` and `~/x` with the home folder of the environment; undefined if it has none. Other text is returned as it is. */
export function expandHome(text: string, env: Env): string | undefined {
  if (text !== '~' && !/^~[/\\]/.test(text)) return text;
  const home = env['HOME'] || env['USERPROFILE'];
  return home ? path.join(home, text.slice(1)) : undefined;
}

/** An absolute path: relative ones count from `folder`, where the configuration file lies. Undefined as above. */
export function absolutePath(text: string, folder: string, env: Env): string | undefined {
  const expanded = expandHome(text, env);
  return expanded === undefined ? undefined : path.resolve(folder, expanded);
}

/** A program without a slash is looked up in PATH when it runs; any other is a path like the rest. */
export function programPath(program: string, folder: string, env: Env): string {
  return /[/\\]/.test(program) ? (absolutePath(program, folder, env) ?? program) : program;
}
