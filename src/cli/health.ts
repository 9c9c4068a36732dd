import { MEMORY_ANSWER_MS } from '../ipc/client.ts';
import { defineCommand } from './command.ts';
import { connectToDaemon, daemonArgs } from './daemon.ts';
import { colour } from './format.ts';
import { EXIT, jsonArg, printJson, printTable, printText } from './output.ts';

const COLOURS = { healthy: 'green', degraded: 'yellow', unhealthy: 'red' } as const;

export const command = defineCommand({
  args: { ...daemonArgs, json: jsonArg },
  /** JSON: the result of health.check (docs/ipc.md). Exit 0 only when healthy. */
  async run(args) {
    using client = await connectToDaemon(args);
    const health = await client.call('health.check', {}, MEMORY_ANSWER_MS);
    if (args.json) {
      printJson(health);
    } else {
      printText(`${colour(COLOURS[health.status], health.status)}\n`);
      const rows = Object.entries(health.components).map(([name, component]) => [
        name,
        component.healthy ? 'ok' : 'FAILED',
        component.status,
        [
          component.version,
          component.port,
          component.latency_ms === undefined ? undefined : `${component.latency_ms} ms`,
          component.error,
        ]
          .filter((detail) => detail !== undefined)
          .join(', '),
      ]);
      printTable(['COMPONENT', 'HEALTH', 'STATUS', 'DETAIL'], rows);
      if (health.status === 'degraded') printText('\nthe reason:  steep-repl status');
    }
    return health.status === 'healthy' ? EXIT.ok : EXIT.notHealthy;
  },
});
