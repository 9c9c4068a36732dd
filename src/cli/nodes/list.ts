import type { NodeStatus } from '../../db/nodes.ts';
import type { ShownNode } from '../../operations/nodes.ts';
import { formatHostPort } from '../../lib/host-port.ts';
import { defineCommand } from '../command.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { colour, formatSeconds, secondsSince, statusColours } from '../format.ts';
import { jsonArg, printJson, printTable, printText } from '../output.ts';

export const command = defineCommand({
  args: {
    ...daemonArgs,
    status: {
      type: 'string',
      description: 'Only nodes in these states, separated by commas',
      valueHint: 'STATUS,…',
    },
    json: jsonArg,
  },
  /** JSON: the result of nodes.list (docs/ipc.md). */
  async run(args) {
    using client = await connectToDaemon(args);
    const wanted = args.status?.split(',') as NodeStatus[] | undefined;
    const result = await client.call('nodes.list', wanted === undefined ? {} : { status_filter: wanted });
    if (args.json) return printJson(result);
    if (result.nodes.length === 0) return printText('no nodes', 'stderr');
    printTable(
      [
        'NODE',
        'NAME',
        'STATUS',
        'POSTGRESQL',
        'RPC',
        'PRIORITY',
        'VOTES',
        'COORDINATOR',
        'ROUND TRIP',
        'LAST SEEN',
      ],
      result.nodes.map(rowOf),
      ['NAME', 'PRIORITY', 'ROUND TRIP', 'VOTES', 'RPC', 'POSTGRESQL'],
    );
    return undefined;
  },
});

function rowOf(node: ShownNode): string[] {
  const {
    node_id,
    node_name,
    status,
    host,
    port,
    grpc_host,
    grpc_port,
    priority,
    is_coordinator,
    last_seen,
    round_trip_ms,
    votes,
    role,
  } = node;
  return [
    node_id,
    node_name,
    colour(statusColours[status], status),
    role === 'witness' ? '-' : formatHostPort({ host, port }),
    grpc_host === null || grpc_port === null ? '-' : formatHostPort({ host: grpc_host, port: grpc_port }),
    String(priority),
    votes ? 'yes' : '-',
    is_coordinator ? 'yes' : '-',
    round_trip_ms === null ? '-' : `${round_trip_ms} ms`,
    last_seen === null ? 'never' : `${formatSeconds(secondsSince(last_seen))} ago`,
  ];
}
