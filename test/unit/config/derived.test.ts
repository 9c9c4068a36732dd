/** What follows from the schema: starter file, JSON Schema, documentation. */
import { describe, expect, test } from 'bun:test';
import { describeSchema } from '../../../src/config/fields.ts';
import { configJsonSchema } from '../../../src/config/json-schema.ts';
import { defaultNodeId, starterFile } from '../../../src/config/starter.ts';
import { readDocument } from '../../support/generate-docs.ts';
import { configFixture } from './fixture.ts';

const fixture = configFixture();

describe('the starter file', () => {
  test('loads as it is, with every default', () => {
    fixture.write('repl:\n  node_id: node-a\n');
    const { config } = fixture.load();
    fixture.write(starterFile('node-a'));
    expect(fixture.load().config).toEqual(config);
  });

  test('loads the same with every default uncommented', () => {
    fixture.write(starterFile('node-a'));
    const { config } = fixture.load();
    const uncommented = starterFile('node-a').replaceAll(/^(\s*)#([a-z_]+: .*)$/gm, '$1$2');
    fixture.write(uncommented);
    const loaded = fixture.load();
    expect(loaded.config).toEqual(config);
    const given = Object.values(loaded.origins).filter(({ source }) => source === 'file').length;
    expect(given).toBeGreaterThan(30);
  });

  test('names every key, and no line is too long', () => {
    const text = starterFile('node-a');
    for (const { path: keys } of describeSchema().fields)
      expect(text).toMatch(new RegExp(`^[ #]+${keys.at(-1)}:`, 'm'));
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(106);
  });

  test.each([
    ['db1.example.com', 'db1'],
    ['DB_1', 'DB_1'],
    ['-x', 'x'],
    ['köln', 'k-ln'],
    ['localhost', 'node-a'],
    ['', 'node-a'],
    ['x'.repeat(80), 'x'.repeat(63)],
  ])('the host name %s makes the node id %s', (host, id) => {
    expect(defaultNodeId(host)).toBe(id);
  });
});

test('every key and section is described, in one or two sentences', () => {
  const { fields, sections } = describeSchema();
  for (const { key, description } of [...fields, ...sections.slice(1)]) {
    expect(`${key}: ${description}`).toMatch(/: .{8,160}\.$/);
  }
});

test('the JSON Schema has every key, and lets stand what the loader lets stand', () => {
  interface Node {
    properties?: Record<string, Node>;
    anyOf?: Node[];
    type?: unknown;
    description?: string;
    default?: unknown;
  }
  const json = configJsonSchema() as Node;
  const repl = json.properties?.['repl'];
  const at = (keys: string[]): Node | undefined =>
    keys.reduce<Node | undefined>((node, key) => node?.properties?.[key], repl);
  for (const { path: keys, description } of describeSchema().fields)
    expect(at(keys)?.description).toStartWith(description);
  expect(at(['grpc'])?.type).toEqual(['object', 'null']);
  expect(at(['ipc', 'mode'])?.type).toEqual(['string', 'integer']);
  expect(at(['heartbeat', 'interval'])?.default).toBe('1s');
  expect(at(['state_dir'])?.description).toEndWith('Default: <state base>/<node_id>.');
});

test('every example in docs/configuration.md loads', () => {
  const text = readDocument('docs/configuration.md');
  const examples = [...text.matchAll(/^```yaml\n(.*?)^```/gms)].map((match) => match[1] ?? '');
  expect(examples.length).toBeGreaterThan(3);
  for (const example of examples) expect(fixture.refusal(example, { HOME: fixture.home })).toBe('');
});
