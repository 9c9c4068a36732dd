import type { LogEntry } from '../../platform/index.ts';
import { countFrom, timeFrom } from '../amounts.ts';
import { defineCommand } from '../command.ts';
import { colour, formatTime } from '../format.ts';
import { EXIT, jsonArg, printJson, printText } from '../output.ts';
import { installedService, userArg, withRights } from './manager.ts';

export const command = defineCommand({
  args: {
    user: userArg,
    follow: { type: 'boolean', alias: 'f', description: 'Go on with new lines, until Ctrl-C' },
    lines: { type: 'string', alias: 'n', default: '50', description: 'How many lines', valueHint: 'N' },
    since: {
      type: 'string',
      description: 'From then on: 1h, 2026-01-31, or an RFC 3339 time',
      valueHint: 'T',
    },
    json: jsonArg,
  },
  /** Oldest first. JSON: an array of `{time, level, text}`; with -f one of them a line. */
  async run(args) {
    const { manager } = await installedService(args.user);
    const query = {
      lines: countFrom(args.lines),
      since: args.since === undefined ? undefined : timeFrom('--since', args.since),
      follow: args.follow === true,
    };
    // Ended by a signal, it ends what it reads from.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(EXIT.ok));
    await withRights(manager, 'logs', async () => {
      const entries: LogEntry[] = [];
      for await (const entry of manager.logs(query)) {
        if (!args.json) printText(entryLine(entry));
        else if (query.follow) printText(JSON.stringify(entry));
        else entries.push(entry);
      }
      if (args.json && !query.follow) printJson(entries);
    });
    return EXIT.ok;
  },
});

const COLOURS = { debug: 'dim', info: undefined, warn: 'yellow', error: 'red' } as const;

export function entryLine({ time, level, text }: LogEntry): string {
  const paint = COLOURS[level];
  const line = `${level.toUpperCase().padEnd(5)} ${text}`;
  return `${formatTime(time.toISOString())} ${paint === undefined ? line : colour(paint, line)}`;
}
