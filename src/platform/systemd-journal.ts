/** Reads the journal, by journalctl. */
import type { LogLevel } from '../lib/log.ts';
import { SteepError } from '../lib/errors.ts';
import type { LogEntry, LogQuery } from './service.ts';
import { linesOfTool } from './tool.ts';

/** Entries that match these arguments of journalctl. Throws PERMISSION_DENIED when this user may not read them. */
export async function* readJournal(match: readonly string[], query: LogQuery): AsyncGenerator<LogEntry> {
  const { lines, since, follow } = query;
  const command = [
    ...'journalctl --output=json --no-pager'.split(' '),
    `--lines=${lines}`,
    ...match,
    ...(since === undefined ? [] : [`--since=@${(since.getTime() / 1000).toFixed(3)}`]),
    ...(follow ? ['--follow'] : []),
  ];
  try {
    for await (const line of linesOfTool(command, follow)) {
      if (line.startsWith('{')) yield entryFrom(JSON.parse(line) as Record<string, unknown>);
    }
  } catch (thrown) {
    const error = SteepError.from(thrown);
    if (!/permission|not seeing messages/i.test(error.message)) throw error;
    throw new SteepError('PERMISSION_DENIED', 'this user may not read the journal of the service', {
      cause: error,
      hint: 'sudo steep-repl logs;  or be a member of the group systemd-journal',
    });
  }
}

function entryFrom(fields: Record<string, unknown>): LogEntry {
  return {
    time: new Date(Number(fields['__REALTIME_TIMESTAMP']) / 1000),
    level: levelFrom(Number(fields['PRIORITY'] ?? 6)),
    text: textFrom(fields['MESSAGE']),
  };
}

function levelFrom(priority: number): LogLevel {
  if (priority <= 3) return 'error';
  if (priority === 4) return 'warn';
  return priority === 7 ? 'debug' : 'info';
}

/** What is no UTF-8 comes as a list of bytes. */
function textFrom(message: unknown): string {
  return Array.isArray(message) ? Buffer.from(message as number[]).toString() : String(message);
}
