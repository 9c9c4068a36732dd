/** The reference of docs/configuration.md, from the schema. */
import { describeSchema, type Field } from '../../src/config/fields.ts';

export function configReference(): string {
  const { fields, sections } = describeSchema();
  return sections
    .map(({ key, description, names }) => {
      const own = fields.filter(
        ({ path: keys }) => keys.slice(0, -1).join('.') === key && names.includes(keys.at(-1) ?? ''),
      );
      const title = key === '' ? 'This node' : `\`${key}\``;
      return [`\n### ${title}\n`, ...(description === '' ? [] : [`${description}\n`]), table(own)].join('\n');
    })
    .join('\n');
}

function table(fields: Field[]): string {
  const rows = fields.map((field) => [
    `\`${field.key}\``,
    defaultOf(field),
    sentence(
      field.leaf.item === undefined ? field.leaf.allowed : `${field.leaf.allowed}; each ${field.leaf.item}`,
    ),
    `\`${field.variable}\``,
    field.description,
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
