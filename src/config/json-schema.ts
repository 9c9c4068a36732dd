/** The JSON Schema of the whole file, for editors that complete and check YAML. */
import { z } from 'zod';
import { unwrap } from './fields.ts';
import { leaves } from './leaves.ts';
import { schema } from './schema.ts';

/** A document of JSON Schema draft 2020-12; keys beside `repl` belong to other programs and are allowed. */
export function configJsonSchema(): Record<string, unknown> {
  const { $schema, ...repl } = z.toJSONSchema(schema, {
    io: 'input',
    override({ zodSchema, jsonSchema }) {
      const { inner } = unwrap(zodSchema);
      const leaf = leaves.get(inner);
      if (leaf?.derived !== undefined && jsonSchema.description !== undefined)
        jsonSchema.description += ` Default: ${leaf.derived}.`;
      // 0600 without quotes is a number to YAML.
      if (leaf?.kind === 'mode')
        Object.assign(jsonSchema, { type: ['string', 'integer'], pattern: undefined });
      // A section whose keys are all commented out is null to YAML.
      if (inner instanceof z.ZodObject && zodSchema !== schema) jsonSchema.type = ['object', 'null'] as never;
    },
  });
  return {
    $schema,
    title: 'Configuration of steep-repl',
    type: 'object',
    properties: { repl },
    required: ['repl'],
  };
}
