/** `~` and relative paths in the configuration. */
import path from 'node:path';
import type { Env } from '../platform/index.ts';

/** `~` and `~/x` with the home folder of the environment; undefined if it has none. Other text is returned as it is. */
export function expandHome(text: string, env: Env): string | undefined {
  if (text !== '~' && !/^~[/\\]/.test(text)) return text;
  const home = env['HOME'] || env['USERPROFILE'];
  return home ? path.join(home, text.slice(1)) : undefined;
}

/** An absolute path: relative ones count from `folder`, where the configuration file lies. Or why there is none. */
export function absolutePath(text: string, folder: string, env: Env): { path: string } | { problem: string } {
  const expanded = expandHome(text, env);
  if (expanded === undefined) return { problem: '~ cannot be expanded: HOME is not set' };
  if (expanded.startsWith('~')) return { problem: `${expanded.split('/')[0]} is not expanded, only ~/ is` };
  return { path: path.resolve(folder, expanded) };
}

/** A program without a slash is looked up in PATH when it runs; any other is a path like the rest. */
export function programPath(program: string, folder: string, env: Env): string {
  if (!/[/\\]/.test(program)) return program;
  const absolute = absolutePath(program, folder, env);
  return 'path' in absolute ? absolute.path : program;
}
