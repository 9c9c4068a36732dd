import { defineCommand } from './command.ts';
import { jsonArg, printJson, printText } from './output.ts';
import { commit, target, version } from './version-info.ts';

export const command = defineCommand({
  args: { json: jsonArg },
  run({ json }) {
    const platform = `${process.platform}-${process.arch}`;
    if (json) printJson({ version, commit, target, bun: Bun.version, platform });
    else printText(`steep-repl ${version}`);
  },
});
