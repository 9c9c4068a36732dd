import { defineCommand } from '../command.ts';
import { confirm, yesArg } from '../confirm.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { jsonArg, printJson, printText } from '../output.ts';

export const command = defineCommand({
  args: {
    id: { type: 'positional', required: true, description: 'Node id' },
    ...daemonArgs,
    yes: yesArg,
    json: jsonArg,
  },
  /** JSON: `node`, the row that was removed. */
  async run(args) {
    using client = await connectToDaemon(args);
    const { node } = await client.call('nodes.get', { node_id: args.id });
    const what = `${node.node_id} (${node.status}) is removed from the cluster: it is refused from now on, and comes back only by nodes readmit.`;
    await confirm(what, args.yes);
    const result = await client.call('nodes.remove', { node_id: args.id });
    if (args.json) printJson(result);
    else printText(`removed ${args.id}`);
  },
});
