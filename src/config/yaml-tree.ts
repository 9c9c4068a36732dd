/**
 * A YAML node as plain values, with the position of every key. Walked here and not by the library's toJS, because
 * aliases must not multiply without end, keys given twice must be told with both places, and what YAML takes for
 * a number may be meant as text (`node_id: 007`, `mode: 0600`).
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import type { Problem } from './problems.ts';
import type { Tree } from './tree.ts';

/** From 1. */
export interface Position {
  line: number;
  column: number;
}

/** More than any real configuration has: a bomb of aliases, or an alias inside its own anchor. */
const MAX_NODES = 10_000;
const MAX_DEPTH = 20;

/** A path as a key of a Map. */
export function pathId(path: readonly string[]): string {
  return JSON.stringify(path);
}

export function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

/** Reads one node of a document; what it finds on the way is kept in `positions` and `problems`. */
export class TreeReader {
  /** Where a key or list item stands, by `pathId`. */
  readonly positions = new Map<string, Position>();
  readonly problems: Problem[] = [];
  #nodes = 0;
  readonly #document: Document.Parsed;
  readonly #at: (offset: number | undefined) => Position;
  readonly #isText: (path: string[]) => boolean;

  /** `isText` tells keys whose value is taken as it is written rather than as a number or truth value. */
  constructor(options: {
    document: Document.Parsed;
    at: (offset: number | undefined) => Position;
    isText: (path: string[]) => boolean;
  }) {
    this.#document = options.document;
    this.#at = options.at;
    this.#isText = options.isText;
  }

  /** True when reading stopped because there is no end to it; the value is then of no use. */
  get endless(): boolean {
    return this.#nodes > MAX_NODES;
  }

  read(node: unknown, path: string[] = [], depth = 0): unknown {
    this.#nodes += 1;
    if (depth > MAX_DEPTH) this.#nodes = MAX_NODES + 1;
    if (this.endless) return null;
    if (isAlias(node)) return this.#alias(node, path, depth);
    if (isNode(node) && node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:'))
      this.#complain(node, path, 'has a tag (!) that is not known', 'quote text that begins with !');
    if (isMap(node)) return this.#map(node, path, depth);
    if (isSeq(node)) return this.#list(node, path, depth);
    return isScalar(node) ? this.#scalar(node, path) : null;
  }

  #alias(node: Alias, path: string[], depth: number): unknown {
    const target = node.resolve(this.#document);
    if (target !== undefined) return this.read(target, path, depth + 1);
    this.#complain(
      node,
      path,
      'names an anchor (&) that does not stand before it',
      'quote text that begins with *',
    );
    return null;
  }

  #map(map: YAMLMap, path: string[], depth: number): Tree {
    // Without a prototype, so that a key `__proto__` is only an unknown key.
    const result = Object.create(null) as Tree;
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? String(key.value) : '?';
      const keyPath = [...path, name];
      const earlier = this.positions.get(pathId(keyPath));
      if (earlier !== undefined && name in result)
        this.#complain(key, keyPath, `is given twice, first in line ${earlier.line}`, 'remove one');
      this.positions.set(pathId(keyPath), this.#at(startOf(key)));
      result[name] = this.read(value, keyPath, depth + 1);
    }
    return result;
  }

  #list(list: YAMLSeq, path: string[], depth: number): unknown[] {
    return list.items.map((item, index) => {
      const itemPath = [...path, String(index)];
      this.positions.set(pathId(itemPath), this.#at(startOf(item)));
      return this.read(item, itemPath, depth + 1);
    });
  }

  #scalar({ value, source }: Scalar, path: string[]): unknown {
    if (value === null || source === undefined) return value;
    // Dates and bytes, which tags make, are only what was written, too.
    return typeof value === 'object' || this.#isText(path) ? source : value;
  }

  #complain(node: unknown, path: string[], message: string, hint: string): void {
    this.problems.push({ ...this.#at(startOf(node)), key: path.join('.'), message, hint });
  }
}
