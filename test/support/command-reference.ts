/** The reference of docs/commands.md, from the table of commands. */
import { commands } from '../../src/cli/commands.ts';

export async function commandReference(): Promise<string> {
  const sections = await Promise.all(
    Object.entries(commands).map(async ([name, { about, load }]) => {
      const { command } = await load();
      const options = Object.entries(command.args);
      const words = options
        .filter(([, { type }]) => type === 'positional')
        .map(([key]) => ` ${key.toUpperCase()}`);
      const rows = options.filter(([, { type }]) => type !== 'positional').map(optionRow);
      const table = rows.length === 0 ? [] : ['', '| option | meaning |', '|---|---|', ...rows];
      return [`\n### steep-repl ${name}${words.join('')}\n`, `${about}.`, ...table].join('\n');
    }),
  );
  return `${sections.join('\n')}\n`;
}

function optionRow([name, definition]: [string, object]): string {
  const {
    type,
    alias,
    description,
    negativeDescription,
    valueHint,
    default: preset,
  } = definition as {
    type?: string;
    alias?: string;
    description?: string;
    negativeDescription?: string;
    valueHint?: string;
    default?: string | boolean;
  };
  if (negativeDescription !== undefined) return `| \`--no-${name}\` | ${negativeDescription} |`;
  const hyphens = alias?.length === 1 ? '-' : '--';
  const short = alias === undefined ? '' : `\`${hyphens}${alias}\`, `;
  const value = type === 'boolean' ? '' : ` ${valueHint ?? name.toUpperCase()}`;
  const meaning = preset === undefined ? description : `${description} (default ${preset})`;
  return `| ${short}\`--${name}${value}\` | ${meaning} |`;
}
