/** Nested plain values addressed by path, as YAML gives them and before zod has looked at them. */

export type Tree = Record<string, unknown>;

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a path; undefined if it or something on the way is absent. List items go by their index. */
export function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  let value = tree;
  for (const name of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[name];
  }
  return value;
}

/** Sets a value, making the sections on the way. Does nothing where something else than a section stands there. */
export function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  let section = tree;
  for (const name of path.slice(0, -1)) {
    const next = (section[name] ??= {});
    if (!isTree(next)) return;
    section = next;
  }
  const last = path.at(-1);
  if (last !== undefined) section[last] = value;
}

export function removeAt(tree: Tree, path: readonly PropertyKey[]): void {
  const parent = valueAt(tree, path.slice(0, -1));
  const last = path.at(-1);
  if (isTree(parent) && last !== undefined) Reflect.deleteProperty(parent, last);
}
