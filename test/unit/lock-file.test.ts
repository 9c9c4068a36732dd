import { expect, test } from 'bun:test';
import lock from '../../package-lock.json' with { type: 'json' };

interface Entry {
  resolved?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}
const entries = lock.packages as Record<string, Entry>;

test('package-lock.json names no host', () => {
  expect(Object.entries(entries).filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
});

test('package-lock.json has every package of every platform; npm ci refuses it otherwise', () => {
  // npm leaves those out that its registry does not have: pin a version that is there for all platforms.
  const wanted = Object.values(entries).flatMap(({ dependencies, optionalDependencies }) =>
    Object.keys({ ...dependencies, ...optionalDependencies }),
  );
  const known = new Set(Object.keys(entries).map((path) => path.split('node_modules/').at(-1)));
  expect(wanted.filter((name) => !known.has(name))).toEqual([]);
});
