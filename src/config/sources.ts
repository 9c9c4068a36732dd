/** The file with the environment laid over it, and for every value the place it came from. */
import type { Env } from '../platform/index.ts';
import { parseConfigDocument } from './document.ts';
import { readOverrides } from './environment.ts';
import { fieldAt, isLibpqVariable, type Keys } from './fields.ts';
import type { Finding } from './issues.ts';
import { absolutePath } from './paths.ts';
import { ConfigError, type Problem } from './problems.ts';
import { isTree, setAt, type Tree, valueAt } from './tree.ts';
import { pathId } from './yaml-tree.ts';

/** Where a value came from; lines and columns count from 1. */
export type Origin =
  | { source: 'file'; file: string; line: number; column: number }
  | { source: 'variable'; variable: string }
  | { source: 'default' };

export interface Sources {
  /** What zod is to parse. */
  tree: Tree;
  problems: Problem[];
  originOf(path: readonly string[]): Origin;
  /** Origin of the key, or of the nearest section above it: where to mend what is missing. */
  nearestOrigin(path: readonly string[]): Origin;
}

/** Throws ConfigError when the file holds no usable `repl`; lesser problems are returned. */
export function readSources(file: string, text: string, env: Env, keys: Keys): Sources {
  const document = parseConfigDocument(file, text, (path) => {
    const kind = fieldAt(keys.fields, path)?.leaf.kind;
    return kind !== undefined && kind !== 'integer' && kind !== 'flag' && kind !== 'duration';
  });
  const { overrides, problems: unknownVariables } = readOverrides(env, keys.fields);
  const problems = [...document.problems, ...unknownVariables];
  const tree = document.repl;
  if (tree === undefined) throw new ConfigError(problems);

  // `grpc:` with every key below it commented out is null in YAML, and means no more than its absence.
  for (const { path } of keys.sections) if (valueAt(tree, path) === null) setAt(tree, path, {});

  const variables = new Map<string, string>();
  const isWitness = (env['STEEP_REPL_ROLE'] || tree['role']) === 'witness';
  for (const { field, value } of overrides) {
    // A shell's PGHOST is no claim that the witness has a PostgreSQL.
    if (isWitness && isLibpqVariable(field.variable)) continue;
    variables.set(field.key, field.variable);
    setAt(tree, field.path, value);
  }

  const originOf = (path: readonly string[]): Origin => {
    const variable = variables.get(fieldAt(keys.fields, path)?.key ?? '');
    if (variable !== undefined) return { source: 'variable', variable };
    const position = document.positions.get(pathId(path));
    return position === undefined ? { source: 'default' } : { source: 'file', file, ...position };
  };
  const nearestOrigin = (path: readonly string[]): Origin => {
    const origin = originOf(path);
    return origin.source === 'default' && path.length > 0 ? nearestOrigin(path.slice(0, -1)) : origin;
  };
  return { tree, problems, originOf, nearestOrigin };
}

/** Makes every path in the tree absolute, and tells which cannot be. */
export function resolvePaths(tree: Tree, keys: Keys, folder: string, env: Env): Finding[] {
  return keys.fields.flatMap(({ key, path, leaf }) => {
    const value = valueAt(tree, path);
    if (leaf.kind !== 'path' || typeof value !== 'string' || value === '' || value === leaf.keyword)
      return [];
    const absolute = absolutePath(value, folder, env);
    if ('problem' in absolute)
      return [{ key, path, message: absolute.problem, hint: 'write the path in full' }];
    setAt(tree, path, absolute.path);
    return [];
  });
}

/** Whether anything is given for a key; a section counts when it holds something. */
export function isGiven(tree: Tree, path: readonly string[]): boolean {
  const value = valueAt(tree, path);
  return isTree(value) ? Object.keys(value).length > 0 : value !== undefined;
}
