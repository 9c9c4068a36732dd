/** The schema as a flat list of keys: what the loader, the variables, the starter file and the docs walk over. */
import { z } from 'zod';
import { type Leaf, leaves } from './leaves.ts';
import { schema } from './schema.ts';

export interface Field {
  /** As messages name it: `grpc.tls.cert_file`. */
  key: string;
  path: string[];
  leaf: Leaf;
  description: string;
  /** The fixed default as the file would give it; undefined if there is none or it is derived. */
  default: unknown;
  required: boolean;
  /** The environment variable that overrides it. */
  variable: string;
}

export interface Section {
  key: string;
  path: string[];
  description: string;
  /** An optional section exists only when the file mentions it. */
  optional: boolean;
  /** Names of the keys directly below it. */
  names: string[];
}

/** Variables that PostgreSQL's own programs know too; every other key has STEEP_REPL_<KEY>. */
const LIBPQ: Record<string, string> = {
  'postgresql.host': 'PGHOST',
  'postgresql.port': 'PGPORT',
  'postgresql.database': 'PGDATABASE',
  'postgresql.user': 'PGUSER',
  'postgresql.sslmode': 'PGSSLMODE',
  'postgresql.sslrootcert': 'PGSSLROOTCERT',
  'postgresql.sslcert': 'PGSSLCERT',
  'postgresql.sslkey': 'PGSSLKEY',
};

export function isLibpqVariable(variable: string): boolean {
  return variable.startsWith('PG');
}

/** `grpc.tls.cert_file` as STEEP_REPL_GRPC_TLS_CERT_FILE. */
export function ownVariable(path: string[]): string {
  return `STEEP_REPL_${path.join('_').toUpperCase()}`;
}

export interface Keys {
  fields: Field[];
  sections: Section[];
}

/** All keys and sections in the order of the schema; the root is the section ''. */
export function describeSchema(): Keys {
  const fields: Field[] = [];
  const sections: Section[] = [];
  visit(schema, []);
  return { fields, sections };

  function visit(type: z.core.$ZodType, path: string[]): void {
    const { inner, optional, preset } = unwrap(type);
    const key = path.join('.');
    const description = z.globalRegistry.get(type)?.description ?? '';
    const leaf = leaves.get(inner);
    if (leaf !== undefined) {
      const variable = LIBPQ[key] ?? ownVariable(path);
      const required = !optional && preset === undefined;
      fields.push({ key, path, leaf, description, default: preset, required, variable });
    } else if (inner instanceof z.ZodObject) {
      sections.push({ key, path, description, optional, names: Object.keys(inner.shape) });
      for (const [name, child] of Object.entries(inner.shape)) visit(child, [...path, name]);
    }
  }
}

/** The field that a path leads to or, for an item of a list, into. */
export function fieldAt(fields: readonly Field[], path: readonly string[]): Field | undefined {
  return fields.find((field) => field.path.every((name, i) => name === path[i]));
}

/** Takes defaults and `optional` off a type. */
export function unwrap(type: z.core.$ZodType): {
  inner: z.core.$ZodType;
  optional: boolean;
  preset: unknown;
} {
  let inner = type;
  let optional = false;
  let preset: unknown;
  for (;;) {
    if (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) preset = inner.def.defaultValue;
    else if (inner instanceof z.ZodOptional) optional = true;
    else return { inner, optional, preset };
    inner = inner.def.innerType;
  }
}
