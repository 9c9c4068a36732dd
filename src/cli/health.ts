import type { IpcClient } from '../ipc/client.ts';
import { defineCommand } from './command.ts';
import { connectToDaemon, daemonArgs } from './daemon.ts';
import { colour, formatSeconds, formatTime, secondsSince } from './format.ts';
import { EXIT, jsonArg, printFields, printJson, printTable, printText } from './output.ts';

const COLOURS = { healthy: 'green', degraded: 'yellow', unhealthy: 'red' } as const;

export const command = defineCommand({
  args: {
    ...daemonArgs,
    remote: { type: 'string', description: 'Ask this peer instead, over mutual TLS', valueHint: 'HOST:PORT' },
    json: jsonArg,
  },
  /** JSON: the result of health.check, with --remote that of health.remote (docs/ipc.md). Exit 0 only when healthy. */
  async run(args) {
    using client = await connectToDaemon(args);
    if (args.remote !== undefined) return await remote(client, args.remote, args.json === true);
    const health = await client.call('health.check', {});
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

/** The daemon asks: an operator need not read its key. */
async function remote(client: IpcClient, address: string, json: boolean): Promise<number> {
  const health = await client.call('health.remote', { address });
  if (json) {
    printJson(health);
  } else {
    const {
      status,
      node_id,
      node_name,
      version,
      uptime_since: since,
      latency_ms: latency,
      certificate,
    } = health;
    printText(`${colour(status === 'healthy' ? 'green' : 'red', status)}\n`);
    printFields({
      Node: node_name === node_id ? node_id : `${node_id} (${node_name})`,
      Version: version,
      Up: since === null ? '-' : formatSeconds(secondsSince(since)),
      'Round trip': `${latency} ms`,
      Certificate:
        certificate === null
          ? 'none: not encrypted'
          : `${certificate.subject}, valid until ${formatTime(certificate.not_after)}`,
      ...(certificate === null
        ? {}
        : { Issuer: certificate.issuer, Serial: certificate.serial, Names: certificate.sans.join(', ') }),
    });
    printText('');
    printTable(
      ['COMPONENT', 'HEALTH', 'STATUS', 'DETAIL'],
      Object.entries(health.components).map(([name, { healthy, status: state, message }]) => [
        name,
        healthy ? 'ok' : 'FAILED',
        state,
        message,
      ]),
    );
  }
  return health.status === 'healthy' ? EXIT.ok : EXIT.notHealthy;
}
