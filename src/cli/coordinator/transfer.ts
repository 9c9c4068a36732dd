import { defineCommand } from '../command.ts';
import { connectToDaemon, daemonArgs } from '../daemon.ts';
import { EXIT, jsonArg, printJson, printText } from '../output.ts';

/** Longer than it takes those who did not hear of it to let the old coordinator's lease run out. */
const TAKEOVER_MS = 15_000;
const LOOK_MS = 100;

export const command = defineCommand({
  args: {
    id: { type: 'positional', required: true, description: 'Node that shall coordinate' },
    ...daemonArgs,
    json: jsonArg,
  },
  /** JSON: the result of coordinator.get (docs/ipc.md), once somebody coordinates again. Exit 1 if it is another one. */
  async run(args) {
    using client = await connectToDaemon(args);
    const before = await client.call('coordinator.get', {});
    await client.call('coordinator.transfer', { node_id: args.id });
    const deadline = performance.now() + TAKEOVER_MS;
    let now = await client.call('coordinator.get', {});
    while ((now.node_id === null || now.term === before.term) && performance.now() < deadline) {
      await Bun.sleep(LOOK_MS);
      now = await client.call('coordinator.get', {});
    }
    if (args.json) printJson(now);
    else if (now.node_id === null)
      printText('nobody has taken over yet: steep-repl coordinator show', 'stderr');
    else printText(`${now.node_id} coordinates, term ${now.term}`);
    return now.node_id === args.id ? EXIT.ok : EXIT.failed;
  },
});
