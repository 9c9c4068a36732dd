/** The file that `config init` writes: every key with its description, all but the node id commented out. */
import { hostname } from 'node:os';
import { describeSchema, type Field, type Section } from './fields.ts';

const WIDTH = 100;

/** Text of a configuration file for a node; `nodeId` must be a valid one. Removing one # sets a key. */
export function starterFile(nodeId: string): string {
  const { fields, sections } = describeSchema();
  const lines = [
    '# Configuration of steep-repl. Other programs may keep their own sections in this file.',
    '# A key with # before it shows its default; remove the # to change it. What is left out keeps its default.',
    '# Environment variables override the file. Test it with: steep-repl config check',
    'repl:',
  ];
  for (const name of sections[0]?.names ?? []) {
    const field = fields.find(({ key }) => key === name);
    const section = sections.find(({ key }) => key === name);
    if (field !== undefined) lines.push(...fieldLines(field, '  ', nodeId), '');
    else if (section !== undefined) lines.push(...sectionLines(section, '  '));
  }
  return `${lines.join('\n').trimEnd()}\n`;

  function sectionLines(section: Section, indent: string): string[] {
    const { key, path, names, description, optional } = section;
    // An optional section without its required keys would be an error, so it is commented out as a whole.
    const [before, inside] = optional ? [`${indent}#`, `${indent}#  `] : [indent, `${indent}  `];
    const result = [...prose(description, indent), `${before}${path.at(-1)}:`];
    for (const name of names) {
      const childKey = `${key}.${name}`;
      const field = fields.find((each) => each.key === childKey);
      const child = sections.find((each) => each.key === childKey);
      if (field !== undefined) result.push(...fieldLines(field, inside, nodeId));
      else if (child !== undefined) result.push(...sectionLines(child, inside));
    }
    return path.length === 1 ? [...result, ''] : result;
  }
}

function fieldLines(field: Field, indent: string, nodeId: string): string[] {
  const name = field.path.at(-1) ?? '';
  if (field.key === 'node_id') return [...prose(field.description, indent), `${indent}${name}: ${nodeId}`];
  const { leaf } = field;
  const fallback = leaf.derived === undefined ? '' : ` Default: ${leaf.derived}.`;
  const value =
    field.default === undefined
      ? ''
      : ` ${typeof field.default === 'string' ? field.default : JSON.stringify(field.default)}`;
  return [
    ...prose(`${field.description}${fallback}`, indent),
    `${indent}${indent.includes('#') ? '' : '#'}${name}:${value}`,
  ];
}

/** A comment, broken into lines of at most WIDTH characters. */
function prose(text: string, indent: string): string[] {
  const lines: string[] = [];
  for (const word of text.match(/<[^>]*>\S*|\S+/g) ?? []) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`${indent}# ${word}`);
  }
  return lines;
}

/** A node id made of this machine's name: its first label, with what ids do not allow replaced. */
export function defaultNodeId(host: string = hostname()): string {
  const id = (host.split('.')[0] ?? '')
    .replaceAll(/[^A-Za-z0-9_-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 63);
  // Every machine calls itself localhost: as an id it would collide with the second node.
  return id === '' || id === 'localhost' ? 'node-a' : id;
}
