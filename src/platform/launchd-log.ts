/** Reads macOS's system log, by log(1). */
import type { LogLevel } from '../lib/log.ts';
import type { LogEntry, LogQuery } from './service.ts';
import { linesOfTool } from './tool.ts';

const DAY_MS = 86_400_000;

/**
 * Of one program, which the system knows by the name of its file. log(1) searches all of the time asked for: a day,
 * unless told otherwise. It cannot count lines.
 */
export async function* readSystemLog(
  program: string,
  { lines, since, follow }: LogQuery,
): AsyncGenerator<LogEntry> {
  const predicate = `process == ${JSON.stringify(program)} AND eventMessage != ""`;
  const match = ['--style', 'ndjson', '--predicate', predicate];
  const from = since ?? new Date(Date.now() - DAY_MS);
  const start = `${from.toISOString().slice(0, 19).replace('T', ' ')}+0000`;
  const newest: LogEntry[] = [];
  for await (const entry of entries(
    ['log', 'show', '--info', '--debug', '--start', start, ...match],
    false,
  )) {
    newest.push(entry);
    if (newest.length > lines) newest.shift();
  }
  yield* newest;
  if (follow) yield* entries(['log', 'stream', '--level', 'debug', ...match], true);
}

async function* entries(command: readonly string[], endless: boolean): AsyncGenerator<LogEntry> {
  for await (const line of linesOfTool(command, endless)) {
    if (!line.startsWith('{')) continue; // a heading
    const { timestamp, messageType, eventMessage } = JSON.parse(line) as Record<string, unknown>;
    if (typeof timestamp !== 'string' || typeof eventMessage !== 'string') continue; // the count at the end
    // `2026-11-23 20:57:31.123456+0100`
    const time = timestamp
      .replace(' ', 'T')
      .replace(/(\.\d{3})\d*/, '$1')
      .replace(/(\d\d)(\d\d)$/, '$1:$2');
    yield { time: new Date(time), level: levelFrom(messageType), text: eventMessage };
  }
}

function levelFrom(type: unknown): LogLevel {
  if (type === 'Error' || type === 'Fault') return 'error';
  return type === 'Debug' ? 'debug' : 'info';
}
