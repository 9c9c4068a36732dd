import { defineCommand } from './command.ts';
import { configArg } from './output.ts';

export const command = defineCommand({
  args: { config: configArg, debug: { type: 'boolean', description: 'Log at level debug' } },
  run() {},
});
