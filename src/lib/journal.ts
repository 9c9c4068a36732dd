import { fstatSync } from 'node:fs';

/** Whether stderr is read by the journal, which takes the priority of a line from its begin, as in sd-daemon(3). */
export function stderrIsJournal(env: Record<string, string | undefined>): boolean {
  const stream = env['JOURNAL_STREAM'];
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(2);
  return stream === `${dev}:${ino}`;
}
