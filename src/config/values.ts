/** The values in force as people see them: written as in the file, with where each came from, without secrets. */
import { formatDuration } from '../lib/duration.ts';
import { describeSchema, type Field } from './fields.ts';
import type { LoadedConfig } from './load.ts';
import type { Origin } from './sources.ts';
import { valueAt } from './tree.ts';

const SECRET = '***';

export interface ShownValue {
  key: string;
  /** As the file would have it: durations and modes as text. Null: not set. */
  value: unknown;
  origin: Origin;
}

/** Every key in the order of the schema. A password is `***`, and so is what follows the program of a command. */
export function valuesInForce({ config, origins }: LoadedConfig): ShownValue[] {
  const { fields, sections } = describeSchema();
  const absent = sections.filter(({ optional, path }) => optional && valueAt(config, path) === undefined);
  const shown = fields
    .filter(({ key }) => !absent.some((section) => key.startsWith(`${section.key}.`)))
    .map((field) => ({
      key: field.key,
      value: written(field, valueAt(config, field.path)),
      origin: origins[field.key] ?? { source: 'default' as const },
    }));
  const { password } = config.postgresql;
  if (password === undefined) return shown;
  const beside = shown.findIndex(({ key }) => key === 'postgresql.password_command');
  const origin = origins['postgresql.password'] ?? { source: 'default' };
  return shown.toSpliced(beside, 0, { key: 'postgresql.password', value: SECRET, origin });
}

function written({ leaf }: Field, value: unknown): unknown {
  if (value === undefined) return null;
  if (leaf.kind === 'duration' && typeof value === 'number') return formatDuration(value);
  if (leaf.kind === 'mode' && typeof value === 'number') return `0${value.toString(8)}`;
  // A command line may carry a password among its arguments.
  if (leaf.kind === 'command' && Array.isArray(value))
    return [value[0], ...(value.length > 1 ? [SECRET] : [])];
  return value;
}
