import { defineCommand } from '../command.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { formatSeconds, formatTime, secondsSince } from '../format.ts';
import { EXIT, jsonArg, printFields, printJson } from '../output.ts';

export const command = defineCommand({
  args: { ...daemonArgs, json: jsonArg },
  /** JSON: the result of coordinator.get (docs/ipc.md). Exit 4 when there is no coordinator. */
  async run(args) {
    using client = await connectToDaemon(args);
    const result = await client.call('coordinator.get', {});
    const { node_id: id, term, since, lease_ms: lease, voters, reachable_voters: reachable } = result;
    if (args.json) {
      printJson(result);
    } else {
      printFields({
        Coordinator: id ?? 'none',
        Term: term === null ? '-' : String(term),
        Since: since === null ? '-' : `${formatTime(since)}, for ${formatSeconds(secondsSince(since))}`,
        Lease: `${lease} ms`,
        Voters: voters.length === 0 ? '-' : voters.join(', '),
        Reachable: reachable.length === 0 ? '-' : reachable.join(', '),
      });
    }
    return id === null ? EXIT.notHealthy : EXIT.ok;
  },
});
