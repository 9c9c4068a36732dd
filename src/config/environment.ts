/** Environment variables that override the file: libpq's for the connection, STEEP_REPL_<KEY> for all other keys. */
import { nearest } from '../lib/nearest.ts';
import type { Env } from '../platform/index.ts';
import { type Field, ownVariable } from './fields.ts';
import type { Leaf } from './leaves.ts';
import type { Problem } from './problems.ts';

const PREFIX = 'STEEP_REPL_';
/** Names the file; read where it is located. */
const FILE_VARIABLE = 'STEEP_REPL_CONFIG';

export interface Override {
  field: Field;
  value: unknown;
}

/** What the environment sets, in the form the file would have. An empty variable counts as not set. */
export function readOverrides(env: Env, fields: Field[]): { overrides: Override[]; problems: Problem[] } {
  const overrides = fields.flatMap((field) => {
    const text = env[field.variable];
    return text ? [{ field, value: fromText(text, field.leaf) }] : [];
  });
  const known = new Set([FILE_VARIABLE, ...fields.map(({ variable }) => variable)]);
  const problems = Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.has(name) && env[name])
    .map((name) => ({
      variable: name,
      message: 'is no variable of steep-repl',
      hint: unknownHint(name, fields, known),
    }));
  return { overrides, problems };
}

function unknownHint(name: string, fields: Field[], known: Set<string>): string {
  if (name.endsWith('_PASSWORD')) return 'set PGPASSWORD, or better postgresql.password_command';
  const libpq = fields.find(({ path }) => ownVariable(path) === name);
  if (libpq !== undefined) return `${libpq.key} is set by ${libpq.variable}`;
  const own = [...known].filter((each) => each.startsWith(PREFIX)).map((each) => each.slice(PREFIX.length));
  const near = nearest(name.slice(PREFIX.length), own);
  if (near !== undefined) return `did you mean ${PREFIX}${near}?`;
  return 'unset it; names follow the keys, as STEEP_REPL_GRPC_PORT does grpc.port';
}

/** Numbers and truth values out of text; what does not look like one stays text, for the schema to refuse. */
function fromText(text: string, { kind }: Leaf): unknown {
  switch (kind) {
    case 'integer':
      return /^-?\d+$/.test(text) ? Number(text) : text;
    case 'flag':
      if (text === 'true') return true;
      return text === 'false' ? false : text;
    case 'list':
      return text.split(',').map((item) => item.trim());
    default:
      return text;
  }
}
