/** What is wrong with this daemon, in the words that `status` shows; each issue lasts as long as its cause. */
import type { Database } from '../db/database.ts';
import { describeTarget } from '../db/target.ts';
import type { Issue } from '../operations/subject.ts';

export interface IssueSources {
  database: Database | undefined;
  /** Keys of the configuration that wait for a restart. */
  pendingKeys: string[];
  /** Why the last reload changed nothing. */
  reloadError: string | undefined;
}

export function issuesOf({ database, pendingKeys, reloadError }: IssueSources): Issue[] {
  const issues: Issue[] = [];
  if (database?.state.kind === 'away') {
    const { message, hint, since } = database.state;
    issues.push({
      severity: 'error',
      message: `PostgreSQL at ${describeTarget(database.target)} cannot be used for ${secondsSince(since)} s: ${message}`,
      hint,
    });
  }
  if (reloadError !== undefined)
    issues.push({
      severity: 'warning',
      message: `the last reload changed nothing: ${reloadError}`,
      hint: 'steep-repl config check, then steep-repl reload',
    });
  if (pendingKeys.length > 0)
    issues.push({
      severity: 'note',
      message: `changed in the file, in force at the next start: ${pendingKeys.join(', ')}`,
      hint: null,
    });
  return issues;
}

function secondsSince(time: Date): number {
  return Math.max(0, Math.round((Date.now() - time.getTime()) / 1000));
}
