/** What is wrong, in the words that `status` shows; each issue lasts as long as its cause. */
import type { Cluster } from '../cluster/cluster.ts';
import { rpcAddress } from '../cluster/member.ts';
import type { Database } from '../db/database.ts';
import { describeTarget } from '../db/target.ts';
import { formatHostPort } from '../lib/host-port.ts';
import type { Issue } from '../operations/subject.ts';

export interface IssueSources {
  database: Database | undefined;
  cluster: Cluster;
  /** Keys of the configuration that wait for a restart. */
  pendingKeys: string[];
  /** Why the last reload changed nothing. */
  reloadError: string | undefined;
}

export function issuesOf({ database, cluster, pendingKeys, reloadError }: IssueSources): Issue[] {
  const issues: Issue[] = [];
  if (database?.state.kind === 'away') {
    const { message, hint, since } = database.state;
    issues.push({
      severity: 'error',
      message: `PostgreSQL at ${describeTarget(database.target)} cannot be used for ${secondsSince(since)} s: ${message}`,
      hint,
    });
  }
  if (cluster.removed)
    issues.push({
      severity: 'error',
      message: 'this node was removed from its cluster',
      hint: `on another node:  steep-repl nodes readmit ${cluster.self.node_id}`,
    });
  else if (cluster.id === null)
    issues.push({
      severity: 'warning',
      message: 'this node belongs to no cluster yet',
      hint: 'steep-repl nodes join HOST:PORT',
    });
  for (const { member, status, silence, failure } of cluster.peers()) {
    if (status !== 'degraded' && status !== 'unreachable') continue;
    const address = rpcAddress(member);
    const where = address === undefined ? '' : ` (${formatHostPort(address)})`;
    const since = status === 'unreachable' ? ` for ${Math.round(silence / 1000)} s` : '';
    issues.push({
      severity: 'warning',
      message: `${member.node_id}${where} ${status}${since}${failure === undefined ? '' : `: ${failure}`}`,
      hint: 'on that host:  steep-repl status',
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
