import { defineCommand } from './command.ts';
import { jsonArg, printJson, printText } from './output.ts';
import { version } from './version-info.ts';

export const command = defineCommand({
  args: { json: jsonArg },
  run({ json }) {
    if (json) printJson({ version, bun: Bun.version, platform: `${process.platform}-${process.arch}` });
    else printText(`steep-repl ${version}`);
  },
});
