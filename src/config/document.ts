/** The YAML text of the file: finds `repl` in it and reads that. What is beside it belongs to other programs. */
import { type Document, isMap, isScalar, LineCounter, parseDocument, type YAMLMap } from 'yaml';
import { messageOf } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import type { Problem } from './problems.ts';
import { isTree, type Tree } from './tree.ts';
import { syntaxProblems, TOO_DEEP } from './yaml-syntax.ts';
import { pathId, type Position, startOf, TreeReader } from './yaml-tree.ts';

export interface ConfigDocument {
  /** The value of `repl`, as YAML reads it; undefined if the file is unusable, for which there is then a problem. */
  repl: Tree | undefined;
  /** Where a key or list item stands, by `pathId` of its path; that of `repl` itself is empty. */
  positions: Map<string, Position>;
  problems: Problem[];
}

/**
 * Parses the text of `file`; `isText` as for TreeReader. With a problem in the syntax nothing else is looked at:
 * the rest would be guesses.
 */
export function parseConfigDocument(
  file: string,
  text: string,
  isText: (path: string[]) => boolean,
): ConfigDocument {
  const counter = new LineCounter();
  const at = (offset = 0): Position => {
    const { line, col } = counter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  let document: Document.Parsed;
  try {
    // Keys given twice are ours to judge: outside `repl` they are none of our business.
    document = parseDocument(text, { lineCounter: counter, prettyErrors: false, uniqueKeys: false });
  } catch (error) {
    return unusable({ file, message: error instanceof RangeError ? TOO_DEEP : messageOf(error) });
  }
  if (document.errors.length > 0) return unusable(...syntaxProblems(file, document, at));

  const found = findRepl(document);
  if ('message' in found) return unusable({ file, ...found });
  const position = at(startOf(found.key));
  const wrong = (message: string, hint?: string): ConfigDocument =>
    unusable({ file, ...position, key: 'repl', message, hint });
  if (found.again !== undefined) {
    const message = `is given twice, first in line ${position.line}`;
    return unusable({ file, ...at(startOf(found.again)), key: 'repl', message, hint: 'put both together' });
  }

  const reader = new TreeReader({ document, at, isText });
  const repl = reader.read(found.value);
  const { positions } = reader;
  if (reader.endless) return wrong('has too many values, or aliases (*) that contain each other');
  const problems = reader.problems.map((problem) => ({ file, ...problem }));
  positions.set(pathId([]), position);
  if (isTree(repl)) return { repl, positions, problems };
  if (problems.length > 0) return unusable(...problems);
  const hint = 'write the keys below it, indented, `node_id` at least';
  return wrong(repl === null ? 'is empty' : 'is not a section with keys', hint);
}

function unusable(...problems: Problem[]): ConfigDocument {
  return { repl: undefined, positions: new Map(), problems };
}

/** The pair of `repl`, and the key of a second one; or what is wrong with the file as a whole. */
function findRepl(document: Document.Parsed): { key: unknown; value: unknown; again: unknown } | Problem {
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null))
    return { message: 'is empty', hint: 'steep-repl config init --force writes a starter file' };
  if (!isMap(root))
    return { line: 1, column: 1, message: 'has no keys at its top level', hint: 'begin with `repl:`' };
  const [first, second] = root.items.filter(({ key }) => isScalar(key) && key.value === 'repl');
  if (first === undefined) return { message: 'has no key `repl`', hint: missingReplHint(root) };
  return { key: first.key, value: first.value, again: second?.key };
}

function missingReplHint(root: YAMLMap): string {
  const names = root.items.map(({ key }) => (isScalar(key) ? String(key.value) : ''));
  const near = names.find((name) => nearest(name, ['repl']) !== undefined);
  return near === undefined
    ? 'put all keys of steep-repl below `repl:`, indented'
    : `did you mean that by \`${near}\`?`;
}
