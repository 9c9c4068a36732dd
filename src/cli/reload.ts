import { defineCommand } from './command.ts';
import { connectToDaemon, daemonArgs } from './daemon.ts';
import { jsonArg, printJson, printText } from './output.ts';
import { reloadByService } from './service/seen.ts';

export const command = defineCommand({
  args: { ...daemonArgs, json: jsonArg },
  /** JSON: `changed[]`, `at_next_start[]`, names of keys. An invalid file changes nothing: exit 2. */
  async run(args) {
    using client = await connectToDaemon(args).catch((error: unknown) => reloadByService(error, args.socket));
    if (client === undefined)
      return args.json ? printJson(null) : printText('the service was told to reload');
    const outcome = await client.call('daemon.reload', {});
    if (args.json) return printJson(outcome);
    const { changed, at_next_start: later } = outcome;
    printText(
      changed.length === 0
        ? 'reloaded; nothing that can change now has changed'
        : `in force now: ${changed.join(', ')}`,
    );
    if (later.length > 0) printText(`in force at the next start: ${later.join(', ')}`);
    return undefined;
  },
});
