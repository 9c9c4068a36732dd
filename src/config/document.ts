/**
 * The YAML of the file as plain values, with the position of every key below `repl`. The tree is walked here and
 * not by the library's toJS because duplicates count only inside `repl`, aliases must not multiply without end,
 * and what YAML takes for a number may be meant as text (`node_id: 007`, `mode: 0600`).
 */
import {
  type Document,
  type ErrorCode,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import { messageOf } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import type { Problem } from './problems.ts';

export interface Position {
  line: number;
  column: number;
}

export interface ConfigDocument {
  /** The value of `repl`: maps, lists and scalars as YAML reads them, or undefined if the file is unusable. */
  repl: Record<string, unknown> | undefined;
  /** Where a key or list item stands, by `pathId` of its path; that of `repl` itself is empty. */
  positions: Map<string, Position>;
  problems: Problem[];
}

/** A path as a key of a Map. */
export function pathId(path: readonly string[]): string {
  return JSON.stringify(path);
}

/** In our words: the library's may quote the file, and with it a secret. */
const SYNTAX: Record<ErrorCode, string> = {
  ALIAS_PROPS: 'an alias (*) has no tag and no anchor',
  BAD_ALIAS: 'an alias (*) or anchor (&) has no valid name; quote text that begins so',
  BAD_COLLECTION_TYPE: 'the tag (!) does not fit its value',
  BAD_DIRECTIVE: 'a line that begins with % is no directive that YAML knows',
  BAD_DQ_ESCAPE: 'a backslash in double quotes begins no known escape; use single quotes',
  BAD_INDENT: 'the indentation does not fit the lines above, or a bracket there is not closed',
  BAD_PROP_ORDER: 'anchors (&) and tags (!) come after the dash or colon',
  BAD_SCALAR_START: 'text cannot begin with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a key: value cannot follow on the same line; quote the text, or mend the indentation of the next line',
  BLOCK_IN_FLOW: 'an indented block cannot stand inside [ ] or { }',
  DUPLICATE_KEY: 'a key is given twice',
  IMPOSSIBLE: 'this is no YAML',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR:
    'something is missing before this place: a closing quote or bracket, a comma, a colon or a space',
  MULTILINE_IMPLICIT_KEY: 'a key must be on one line, with a colon and a space after it',
  MULTIPLE_ANCHORS: 'a value has two anchors (&)',
  MULTIPLE_DOCS: 'a second document begins (---); only one is allowed',
  MULTIPLE_TAGS: 'a value has two tags (!)',
  NON_STRING_KEY: 'a key is no text',
  RESOURCE_EXHAUSTION: 'it is nested too deeply',
  TAB_AS_INDENT: 'tabs cannot indent; use spaces',
  TAG_RESOLVE_FAILED: 'a tag (!) is not known',
  UNEXPECTED_TOKEN: 'this is not expected here; quote the text or check the indentation',
};

/** More nodes than any real `repl` has: a bomb of aliases, or an alias inside its own anchor. */
const MAX_NODES = 10_000;
const MAX_DEPTH = 20;

/**
 * Parses the text of `file`. `isText` tells keys whose value is to be taken as it is written rather than as a
 * number or truth value. With a problem in the syntax, nothing else is looked at: the rest would be guesses.
 */
export function parseConfigDocument(
  file: string,
  text: string,
  isText: (path: string[]) => boolean,
): ConfigDocument {
  const counter = new LineCounter();
  const at = (offset: number | undefined): Position => {
    const { line, col } = counter.linePos(offset ?? 0);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const positions = new Map<string, Position>();
  const fail = (...problems: Problem[]): ConfigDocument => ({ repl: undefined, positions, problems });

  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      uniqueKeys: false,
      logLevel: 'error',
    });
  } catch (error) {
    // Nesting beyond the stack.
    return fail({
      file,
      message: error instanceof RangeError ? SYNTAX.RESOURCE_EXHAUSTION : messageOf(error),
    });
  }
  if (document.errors.length > 0) return fail(...syntaxProblems(file, document, at));
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null))
    return fail({ file, message: 'is empty', hint: 'steep-repl config init --force writes a starter file' });
  if (!isMap(root))
    return fail({
      file,
      ...at(root.range?.[0]),
      message: 'has no keys at its top level',
      hint: 'begin with `repl:`',
    });

  const pairs = root.items.filter(({ key }) => isScalar(key) && key.value === 'repl');
  const [pair, second] = pairs;
  if (pair === undefined) return fail({ file, message: 'has no key `repl`', hint: missingReplHint(root) });
  const keyAt = at(startOf(pair.key));
  positions.set(pathId([]), keyAt);
  if (second !== undefined)
    return fail({
      file,
      ...at(startOf(second.key)),
      key: 'repl',
      message: `is given twice, first in line ${keyAt.line}`,
      hint: 'put both together',
    });

  const problems: Problem[] = [];
  let nodes = 0;
  const repl = walk(pair.value, [], 0);
  if (nodes > MAX_NODES)
    return fail({
      file,
      ...keyAt,
      key: 'repl',
      message: 'has too many values, or aliases (*) that contain each other',
    });
  if (problems.length === 0 && (typeof repl !== 'object' || repl === null || Array.isArray(repl)))
    return fail({
      file,
      ...keyAt,
      key: 'repl',
      message: repl === null ? 'is empty' : 'is not a section with keys',
      hint: 'write the keys below it, indented, `node_id` at least',
    });
  return { repl: repl as Record<string, unknown>, positions, problems };

  function walk(node: unknown, path: string[], depth: number): unknown {
    nodes += 1;
    if (nodes > MAX_NODES || depth > MAX_DEPTH) {
      nodes = MAX_NODES + 1;
      return null;
    }
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (target !== undefined) return walk(target, path, depth + 1);
      problems.push({
        file,
        ...at(node.range?.[0]),
        key: path.join('.'),
        message: 'names an anchor (&) that does not stand before it',
        hint: 'quote text that begins with *',
      });
      return null;
    }
    if (isNode(node) && node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:'))
      problems.push({
        file,
        ...at(node.range?.[0]),
        key: path.join('.'),
        message: 'has a tag (!) that is not known',
        hint: 'quote text that begins with !',
      });
    if (isMap(node)) return walkMap(node, path, depth);
    if (isSeq(node))
      return node.items.map((item, index) => {
        const itemPath = [...path, String(index)];
        positions.set(pathId(itemPath), at(startOf(item)));
        return walk(item, itemPath, depth + 1);
      });
    if (!isScalar(node)) return null;
    const { value, source } = node;
    const written = typeof value === 'object' ? value !== null : value !== undefined && isText(path);
    return written && source !== undefined ? source : value;
  }

  function walkMap(map: YAMLMap, path: string[], depth: number): Record<string, unknown> {
    // Without a prototype, so that a key `__proto__` is only an unknown key.
    const result: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? String(key.value) : '?';
      const keyPath = [...path, name];
      const position = at(startOf(key));
      const earlier = positions.get(pathId(keyPath));
      if (earlier !== undefined && name in result)
        problems.push({
          file,
          ...position,
          key: keyPath.join('.'),
          message: `is given twice, first in line ${earlier.line}`,
          hint: 'remove one',
        });
      positions.set(pathId(keyPath), position);
      result[name] = walk(value, keyPath, depth + 1);
    }
    return result;
  }
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

/** One problem per line: the parser's second complaint about a line is a consequence of the first. */
function syntaxProblems(
  file: string,
  { errors }: Document.Parsed,
  at: (offset: number) => Position,
): Problem[] {
  const byLine = new Map<number, Problem>();
  for (const { code, pos } of errors) {
    const position = at(pos[0]);
    if (!byLine.has(position.line)) byLine.set(position.line, { file, ...position, message: SYNTAX[code] });
  }
  return [...byLine.values()];
}

function missingReplHint(root: YAMLMap): string {
  const names = root.items.map(({ key }) => (isScalar(key) ? String(key.value) : ''));
  const near = names.find((name) => nearest(name, ['repl']) !== undefined);
  return near === undefined
    ? 'put all keys of steep-repl below `repl:`, indented'
    : `did you mean that by \`${near}\`?`;
}
