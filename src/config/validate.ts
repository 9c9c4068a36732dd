/** Checks a tree by the schema and by the rules between keys, and reports everything that is wrong with it. */
import type { z } from 'zod';
import { fieldAt, type Keys } from './fields.ts';
import { type Finding, findingsOf } from './issues.ts';
import type { Problem } from './problems.ts';
import { rules } from './rules.ts';
import { type Config, schema } from './schema.ts';
import { isGiven } from './sources.ts';
import { removeAt, setAt, type Tree } from './tree.ts';

/** Compiling a parser first, as zod does by itself, costs 8 ms: too much for a schema that parses once. */
const ONCE = { jitless: true };

type Parsed = z.output<typeof schema>;
type Complete = (parsed: Parsed) => { config: Config; problems: (Problem & { key: string })[] };

/**
 * The Config, and what is wrong. A wrong value is taken out of the tree, so that its default stands in and the
 * rules between the remaining keys can still be checked; a Config with findings is not to be used.
 */
export function validate(
  tree: Tree,
  keys: Keys,
  complete: Complete,
): { config: Config | undefined; findings: Finding[] } {
  let result = schema.safeParse(tree, ONCE);
  const findings = result.success ? [] : findingsOf(result.error.issues, tree, keys);
  if (!result.success) {
    for (const finding of findings) standIn(finding, tree, keys);
    result = schema.safeParse(tree, ONCE);
  }
  if (!result.success) return { config: undefined, findings };
  const { config, problems } = complete(result.data);
  findings.push(...problems.map((problem) => ({ ...problem, path: problem.key.split('.') })));
  findings.push(...brokenRules(config, tree, new Set(findings.map(({ key }) => key))));
  return { config, findings };
}

/** Removes what is wrong; for what is required and has no default, a value that passes. */
function standIn({ path }: Finding, tree: Tree, keys: Keys): void {
  const field = fieldAt(keys.fields, path);
  removeAt(tree, field?.path ?? path);
  if (field?.required !== true) return;
  if (field.key === 'node_id') setAt(tree, field.path, 'node');
  else removeAt(tree, field.path.slice(0, -1));
}

function brokenRules(config: Config, tree: Tree, wrong: Set<string>): Finding[] {
  const isSet = (key: string): boolean => isGiven(tree, key.split('.'));
  return rules.flatMap((rule) => {
    // A rule about a key that is wrong by itself would judge its default.
    if (rule.keys.some((key) => wrong.has(key))) return [];
    const broken = rule.check(config, isSet);
    if (broken === undefined) return [];
    const key = rule.keys.find(isSet) ?? rule.keys[0];
    return [{ ...broken, key, path: key.split('.') }];
  });
}
