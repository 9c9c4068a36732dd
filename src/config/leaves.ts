/**
 * The kinds of value a key may have, each a zod type that knows in words what it allows. Input is what YAML or
 * an environment variable gave; output is what the program works with.
 */
import { z } from 'zod';
import { DURATION_PATTERN, formatDuration, parseDuration } from '../lib/duration.ts';
import { isHost, parseHostPort } from '../lib/host-port.ts';
import { splitShellWords } from '../lib/shell-words.ts';

export interface Leaf {
  kind: 'text' | 'integer' | 'choice' | 'flag' | 'duration' | 'path' | 'list' | 'mode' | 'command';
  /** Completes "… is not": `a whole number from 1 to 100`. */
  allowed: string;
  /** For a list: what each item has to be. */
  item?: string;
  /** The default in words, where it depends on the machine or on other keys (`complete.ts` fills it in). */
  derived?: string;
  /** A path's value that is a word and no path. */
  keyword?: string;
}

/** What each leaf type of the schema is; zod's own metadata keeps the description. */
export const leaves = z.registry<Leaf>();

/** What no text of ours may hold: it ends up in log lines, tables and other nodes' screens. */
// oxlint-disable-next-line no-control-regex -- control characters are the point
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** 1 to `max` characters, none of them a control character. */
export function text(max: number) {
  const type = z
    .string()
    .min(1)
    .max(max)
    .refine((value) => !CONTROL.test(value));
  return type.register(leaves, { kind: 'text', allowed: `a text of 1 to ${max} characters on one line` });
}

/** Text that `test` accepts; `allowed` says which that is. */
export function textThat(test: (value: string) => boolean, allowed: string) {
  return z.string().refine(test).register(leaves, { kind: 'text', allowed });
}

/** Text of a form that editors can check too. */
export function pattern(form: RegExp, allowed: string) {
  return z.string().regex(form).register(leaves, { kind: 'text', allowed });
}

/** A host name or IP address, without port. */
export function host(allowed = 'a host name or an IP address') {
  return textThat(isHost, allowed);
}

/** `host:port`; it stays text, `lib/host-port.ts` takes it apart. */
export function hostPort() {
  return textThat(
    (value) => parseHostPort(value) !== undefined,
    'host:port, such as db1.example.com:5433 or [fd00::1]:5433',
  );
}

export function integer(min: number, max: number) {
  return z
    .int()
    .min(min)
    .max(max)
    .register(leaves, { kind: 'integer', allowed: `a whole number from ${min} to ${max}` });
}

export function port() {
  return integer(1, 65_535);
}

export function flag() {
  return z.boolean().register(leaves, { kind: 'flag', allowed: 'true or false' });
}

export function choice<const Values extends readonly [string, ...string[]]>(...values: Values) {
  const allowed = `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`;
  return z.enum(values).register(leaves, { kind: 'choice', allowed });
}

/** `5s` in, milliseconds out. `or: 'zero'` also lets 0 pass, below `min` though it is. */
export function duration(min: string, max: string, or?: 'zero') {
  const [low, high] = [parseDuration(min) ?? 0, parseDuration(max) ?? 0];
  const input =
    or === 'zero'
      ? z.union([z.string().regex(/^0$|^\d+(ms|s|m|h|d|y)$/), z.literal(0)])
      : z.string().regex(DURATION_PATTERN);
  const type = input.transform((value, context) => {
    if (or === 'zero' && (value === 0 || value === '0')) return 0;
    const milliseconds = parseDuration(String(value));
    if (milliseconds !== undefined && milliseconds >= low && milliseconds <= high) return milliseconds;
    context.addIssue({ code: 'custom' });
    return z.NEVER;
  });
  const range = `a duration from ${formatDuration(low)} to ${formatDuration(high)}`;
  return type.register(leaves, { kind: 'duration', allowed: or === 'zero' ? `${range}, or 0` : range });
}

/** A file or folder; already absolute when zod sees it (`paths.ts`). `keyword` is a value that is no path. */
export function filePath(keyword?: string) {
  const allowed = keyword === undefined ? 'a path' : `a path, or ${keyword}`;
  const type = z
    .string()
    .min(1)
    .refine((value) => !CONTROL.test(value));
  return type.register(leaves, { kind: 'path', allowed, ...(keyword === undefined ? {} : { keyword }) });
}

/** Several values of one kind; in an environment variable separated by commas. */
export function listOf<Item extends z.ZodType<string, string>>(item: Item, min = 0) {
  const each = leaves.get(item)?.allowed ?? '';
  const allowed = min === 0 ? 'a list' : 'a list with at least one item';
  return z.array(item).min(min).register(leaves, { kind: 'list', allowed, item: each });
}

const MODE_PATTERN = /^(0o?)?[67][0-7]0$/;

/** Octal however it is written, `0600`, `0o600` or `600`, as text (`document.ts` sees to that); a number out. */
export function mode() {
  const type = z
    .string()
    .regex(MODE_PATTERN)
    .transform((value) => Number.parseInt(value.replace('o', ''), 8));
  const allowed =
    'an octal mode such as 0600 or 0660 that lets its owner read and write and gives others nothing';
  return type.register(leaves, { kind: 'mode', allowed });
}

/** A command line, split into words as a shell would, or the list of words itself; words out. */
export function command() {
  const type = z
    .union([z.string(), z.array(z.string().refine((word) => !word.includes('\0'))).min(1)])
    .transform((value, context) => {
      if (typeof value !== 'string') return value;
      const split = splitShellWords(value);
      if ('words' in split) return split.words;
      context.addIssue({ code: 'custom', message: split.problem, params: { hint: split.hint } });
      return z.NEVER;
    });
  return type.register(leaves, { kind: 'command', allowed: 'a command line or a list of words' });
}

/** A section: keys below a key. Left out or left empty, all its defaults hold. */
export function section<Shape extends z.core.$ZodShape>(shape: Shape, description: string) {
  return z
    .strictObject(shape)
    .prefault({} as never)
    .describe(description);
}

/**
 * A key whose default `complete.ts` works out, told here in words. Zod lets it be absent; its output type says
 * that it is there, which holds for everyone who gets a Config (a test walks all keys marked so).
 */
export function derived<Type extends z.ZodType>(type: Type, words: string) {
  const leaf = leaves.get(type);
  if (leaf !== undefined) leaves.add(type, { ...leaf, derived: words });
  return type.optional() as unknown as z.ZodType<z.output<Type>, z.input<Type> | undefined>;
}
