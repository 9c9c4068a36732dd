import { defineCommand } from '../command.ts';
import { confirm, yesArg } from '../confirm.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { jsonArg, printJson, printText } from '../output.ts';

export const command = defineCommand({
  args: {
    address: { type: 'positional', required: true, description: 'HOST:PORT of a node of the cluster' },
    ...daemonArgs,
    yes: yesArg,
    json: jsonArg,
  },
  /** JSON: `node`, the peer through which the cluster was joined. */
  async run(args) {
    using client = await connectToDaemon(args);
    const { node } = await client.call('status.get', {});
    await confirm(
      `${node.node_id} gives up its own one-node cluster and joins that of ${args.address}.`,
      args.yes,
    );
    const result = await client.call('nodes.join', { address: args.address });
    if (args.json) return printJson(result);
    const { nodes } = await client.call('nodes.list', {});
    printText(`${node.node_id} joined through ${result.node.node_id}; the cluster has ${nodes.length} nodes`);
    return undefined;
  },
});
