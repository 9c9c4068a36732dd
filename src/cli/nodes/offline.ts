import { defineCommand } from '../command.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { jsonArg, printJson, printText } from '../output.ts';

export const command = defineCommand({
  args: { id: { type: 'positional', required: true, description: 'Node id' }, ...daemonArgs, json: jsonArg },
  /** JSON: `node`, the row that is offline. */
  async run(args) {
    using client = await connectToDaemon(args);
    const result = await client.call('nodes.set_status', { node_id: args.id, status: 'offline' });
    if (args.json) printJson(result);
    else printText(`${args.id} is offline until  steep-repl nodes online ${args.id}`);
  },
});
