import { formatHostPort } from '../../lib/host-port.ts';
import { defineCommand } from '../command.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { colour, formatTime, statusColours } from '../format.ts';
import { jsonArg, printFields, printJson } from '../output.ts';

export const command = defineCommand({
  args: { id: { type: 'positional', required: true, description: 'Node id' }, ...daemonArgs, json: jsonArg },
  /** JSON: `node`, a row of steep_repl.nodes. */
  async run(args) {
    using client = await connectToDaemon(args);
    const { node } = await client.call('nodes.get', { node_id: args.id });
    if (args.json) return printJson({ node });
    const { host, port, grpc_host, grpc_port, role } = node;
    printFields({
      Node: node.node_id,
      Name: node.node_name,
      Status: colour(statusColours[node.status], node.status),
      PostgreSQL: role === 'witness' ? '-' : formatHostPort({ host, port }),
      RPC:
        grpc_host === null || grpc_port === null ? '-' : formatHostPort({ host: grpc_host, port: grpc_port }),
      Priority: String(node.priority),
      Coordinator: node.is_coordinator ? 'yes' : 'no',
      'Last seen': node.last_seen === null ? 'never' : formatTime(node.last_seen),
    });
    return undefined;
  },
});
