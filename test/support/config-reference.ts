/** The reference of docs/configuration.md, from the schema. */
import { describeSchema, type Field } from '../../src/config/fields.ts';
import type { Config } from '../../src/config/schema.ts';
import { mergeReloaded } from '../../src/daemon/reload.ts';

export function configReference(): string {
  const { fields, sections } = describeSchema();
  const atOnce = reloadable(fields);
  return sections
    .map(({ key, description, names }) => {
      const own = fields.filter(
        ({ path: keys }) => keys.slice(0, -1).join('.') === key && names.includes(keys.at(-1) ?? ''),
      );
      const title = key === '' ? 'This node' : `\`${key}\``;
      return [
        `\n### ${title}\n`,
        ...(description === '' ? [] : [`${description}\n`]),
        table(own, atOnce),
      ].join('\n');
    })
    .join('\n');
}

/** The keys that a reload takes, asked of what does it: a configuration in which every key has another value. */
function reloadable(fields: Field[]): Set<string> {
  const filled = (value: string): Config => {
    const config = {};
    for (const { path } of fields) set(config, path, value);
    return config as Config;
  };
  return new Set(mergeReloaded(filled('before'), filled('after')).applied);
}

function set(section: Record<string, unknown>, [name = '', ...below]: string[], value: string): void {
  if (below.length === 0) section[name] = value;
  else set((section[name] ??= {}) as Record<string, unknown>, below, value);
}

function table(fields: Field[], atOnce: Set<string>): string {
  const rows = fields.map((field) => [
    `\`${field.key}\``,
    defaultOf(field),
    sentence(
      field.leaf.item === undefined ? field.leaf.allowed : `${field.leaf.allowed}; each ${field.leaf.item}`,
    ),
    `\`${field.variable}\``,
    atOnce.has(field.key) ? `${field.description} *In force after a reload.*` : field.description,
  ]);
  const cells = [
    ['key', 'default', 'allowed', 'variable', 'meaning'],
    ['---', '---', '---', '---', '---'],
    ...rows,
  ];
  return cells
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`)
    .join('\n');
}

function defaultOf({ default: preset, required, leaf }: Field): string {
  if (required) return '**required**';
  if (leaf.derived !== undefined) return leaf.derived.replaceAll(/<([^>]*)>/g, '*$1*');
  if (preset === undefined) return '–';
  return `\`${typeof preset === 'string' ? preset : JSON.stringify(preset)}\``;
}

/** Without the article that makes it part of a message. */
function sentence(allowed: string): string {
  return allowed.replace(/^an? /, '');
}
