/** Zod's issues as problems in the words of this program: which value, what is allowed, what to write instead. */
import type { z } from 'zod';
import { nearest } from '../lib/nearest.ts';
import { type Field, fieldAt, type Keys } from './fields.ts';
import { type Problem, showValue } from './problems.ts';
import { valueAt } from './tree.ts';

/** A problem that knows its place in the tree, not yet its line or variable. */
export interface Finding extends Problem {
  key: string;
  path: string[];
}

/** One finding per unknown key and per wrong value. `tree` is what was parsed. */
export function findingsOf(issues: readonly z.core.$ZodIssue[], tree: unknown, keys: Keys): Finding[] {
  const findings = issues.flatMap((issue) => {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((name) => unknownKey([...path, name], keys));
    const field = fieldAt(keys.fields, path);
    return [field === undefined ? notASection(path, keys) : wrongValue(field, path, tree, issue)];
  });
  // A value may break several rules of its type; once is enough.
  const seen = new Set<string>();
  return findings.filter(({ path }) => !seen.has(path.join('.')) && seen.add(path.join('.')));
}

function unknownKey(path: string[], { fields, sections }: Keys): Finding {
  const parent = path.slice(0, -1).join('.');
  const name = path.at(-1) ?? '';
  const names = sections.find(({ key }) => key === parent)?.names ?? [];
  const prefix = parent === '' ? '' : `${parent}.`;
  const finding = { key: path.join('.'), path, message: 'unknown key' };
  if (/^pass(word|wd|phrase)?$|^pwd$|^secret$/i.test(name))
    return {
      ...finding,
      message: 'a password does not belong in a file',
      hint: 'use postgresql.password_command, or the variable PGPASSWORD',
    };
  if (fields.some(({ key }) => key === `${prefix}${name}`))
    return {
      ...finding,
      hint: `write it in sections: ${name.replaceAll('.', ': { ')}: …${' }'.repeat(name.split('.').length - 1)}`,
    };
  const near = nearest(name, names);
  if (near !== undefined) return { ...finding, hint: `did you mean ${prefix}${near}?` };
  const elsewhere = fields.filter((field) => field.path.at(-1) === name).map(({ key }) => key);
  if (elsewhere.length > 0) return { ...finding, hint: `did you mean ${elsewhere.join(' or ')}?` };
  return { ...finding, hint: `known here: ${names.join(', ')}` };
}

function notASection(path: string[], { sections }: Keys): Finding {
  const key = path.join('.');
  const names = sections.find((section) => section.key === key)?.names ?? [];
  // Never with the value: a connection URL, put where the section belongs, holds a password.
  return { key, path, message: 'is not a section', hint: `write below it, indented: ${names.join(', ')}` };
}

function wrongValue(field: Field, path: string[], tree: unknown, issue: z.core.$ZodIssue): Finding {
  const { key, leaf } = field;
  const value = valueAt(tree, path);
  const item = path.length > field.path.length;
  const allowed = (item ? leaf.item : leaf.allowed) ?? leaf.allowed;
  const finding = { key, path };
  if (value === undefined) return { ...finding, message: 'is missing', hint: `give it ${allowed}` };
  if (value === null)
    return { ...finding, message: 'has no value', hint: `give it ${allowed}, or remove the line` };
  // Only the splitting of a command line says more than that the value is wrong.
  if (issue.code === 'custom' && typeof issue.params?.['hint'] === 'string')
    return { ...finding, message: issue.message, hint: issue.params['hint'] };
  // A command line may have a password among its arguments.
  const message = leaf.kind === 'command' ? `is not ${allowed}` : `${showValue(value)} is not ${allowed}`;
  return { ...finding, message, hint: item ? undefined : hintFor(field, value) };
}

function hintFor({ leaf }: Field, value: unknown): string | undefined {
  const text = typeof value === 'object' ? '' : (JSON.stringify(value) ?? '').replaceAll('"', '');
  switch (leaf.kind) {
    case 'duration':
      if (/^\d+$/.test(text)) return `it needs a unit, such as ${text === '0' ? '5' : text}s`;
      return /^\d+(ms|s|m|h|d|y)$/.test(text) ? undefined : 'write 500ms, 5s, 10m, 1h, 7d or 2y';
    case 'flag':
      if (/^(true|false)$/.test(text)) return `write ${text}, without quotes`;
      if (/^(yes|on|1)$/i.test(text)) return 'write true';
      return /^(no|off|0)$/i.test(text) ? 'write false' : undefined;
    case 'integer':
      return typeof value === 'string' && /^\d+$/.test(value)
        ? `write ${Number(value)}, without quotes`
        : undefined;
    case 'choice': {
      const near = nearest(text, leaf.allowed.split(/, | or /));
      return near === undefined ? undefined : `did you mean ${near}?`;
    }
    case 'list':
      return typeof value === 'string' ? 'put it in brackets: [ ]' : undefined;
    default:
      return undefined;
  }
}
