/**
 * From a file and the environment to the values in force: locate, read, parse YAML, lay variables over it,
 * check by the schema, fill in defaults, check the rules between keys. Problems are collected on the way, so that
 * one run shows all of them; each names the place where its value came from.
 */
import path from 'node:path';
import type { Env, Platform } from '../platform/index.ts';
import { complete, type Scope } from './complete.ts';
import { describeSchema } from './fields.ts';
import { readConfigFile } from './file.ts';
import type { Finding } from './issues.ts';
import { locateConfig } from './locate.ts';
import { ConfigError, type Problem } from './problems.ts';
import type { Config } from './schema.ts';
import { type Origin, readSources, resolvePaths, type Sources } from './sources.ts';
import { validate } from './validate.ts';

export { ConfigError } from './problems.ts';
export type { Origin } from './sources.ts';

export interface LoadedConfig {
  config: Config;
  /** Absolute path of the file. */
  file: string;
  /** Whose daemon this is, the machine's or one user's: decides where state, sockets and services live. */
  scope: Scope;
  /** By key (`grpc.port`), for every key of the schema and for `postgresql.password`. */
  origins: Record<string, Origin>;
}

/**
 * Loads the configuration: reads one file, writes nothing. `path` is the argument of --config.
 * Throws ConfigError (CONFIG_INVALID) with every problem found.
 */
export function loadConfig(options: {
  path?: string | undefined;
  env: Env;
  platform: Platform;
}): LoadedConfig {
  const { env, platform } = options;
  const file = locateConfig(options);
  const folder = path.dirname(file);
  const scope = scopeOf(folder, env, platform);
  const keys = describeSchema();
  const sources = readSources(file, readConfigFile(file, platform), env, keys);

  const badPaths = resolvePaths(sources.tree, keys, folder, env);
  const { config, findings } = validate(sources.tree, keys, (parsed) =>
    complete(parsed, { folder, scope, env, platform }),
  );
  // What YAML could not tell (a key given twice, an alias of nothing) needs no second complaint.
  const reported = new Set(sources.problems.map(({ key }) => key));
  const problems = inOrder([
    ...sources.problems,
    ...[...badPaths, ...findings]
      .filter(({ key }) => !reported.has(key))
      .map((finding) => placed(finding, file, sources)),
  ]);
  if (config === undefined || problems.length > 0) throw new ConfigError(problems);

  const origins = Object.fromEntries(keys.fields.map((field) => [field.key, sources.originOf(field.path)]));
  origins['postgresql.password'] =
    config.postgresql.password === undefined
      ? { source: 'default' }
      : { source: 'variable', variable: 'PGPASSWORD' };
  return { config, file, scope, origins };
}

/** Root serves the machine, and so does whoever uses the file in the machine's folder, or is its service. */
function scopeOf(folder: string, env: Env, platform: Platform): Scope {
  if (env['STEEP_SERVICE_SCOPE'] === 'system') return 'system';
  const fromSystem = path.relative(platform.configDirs(env).system, folder);
  const inside = !fromSystem.startsWith('..') && !path.isAbsolute(fromSystem);
  return inside || platform.currentUser().privileged ? 'system' : 'user';
}

function placed({ path: at, ...problem }: Finding, file: string, sources: Sources): Problem {
  const origin = sources.nearestOrigin(at);
  if (origin.source === 'variable') return { ...problem, variable: origin.variable };
  return {
    ...problem,
    file,
    ...(origin.source === 'file' ? { line: origin.line, column: origin.column } : {}),
  };
}

/** As one reads the file from top to bottom, the environment last. */
function inOrder(problems: Problem[]): Problem[] {
  const line = (problem: Problem): number =>
    problem.line ?? (problem.variable === undefined ? 0 : Number.MAX_SAFE_INTEGER);
  return problems.toSorted((a, b) => line(a) - line(b) || (a.column ?? 0) - (b.column ?? 0));
}
