import { configJsonSchema } from '../../config/json-schema.ts';
import { defineCommand } from '../command.ts';
import { printJson } from '../output.ts';

export const command = defineCommand({
  args: {},
  run() {
    printJson(configJsonSchema());
  },
});
