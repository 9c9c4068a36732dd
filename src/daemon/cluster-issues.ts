/** What is wrong with the cluster as this node sees it, and what to do about it. */
import type { Cluster } from '../cluster/cluster.ts';
import { find, voters } from '../cluster/list.ts';
import { rpcAddress } from '../cluster/member.ts';
import { formatHostPort } from '../lib/host-port.ts';
import type { Issue } from '../operations/subject.ts';

export interface ClusterIssueSources {
  cluster: Cluster;
  hasCoordinator: boolean;
  /** Milliseconds since the start of the daemon. */
  uptime: number;
  /** While that young, a daemon waits for what it may have promised, and nobody need worry. */
  startTime: number;
  twoNode: 'safe' | 'promote';
  /** Why there is no coordinator, etcd knows better: then it says so itself. */
  store: 'builtin' | 'etcd';
  /** Whether this node founds a cluster as soon as it knows that it belonged to none. */
  founds: boolean;
  /** Addresses of the others, where an earlier state of this node was found to be lost. */
  lost: readonly string[] | undefined;
}

export function clusterIssues(sources: ClusterIssueSources): Issue[] {
  const { cluster } = sources;
  const own = cluster.self.node_id;
  if (cluster.removed)
    return [
      {
        severity: 'error',
        message: 'this node was removed from its cluster',
        hint: `on another node:  steep-repl nodes readmit ${own}`,
      },
    ];
  if (cluster.id === null && sources.founds)
    return [
      {
        severity: 'note',
        message: 'this node founds its cluster when PostgreSQL has been asked for an earlier one',
        hint: null,
      },
    ];
  if (cluster.id === null && sources.lost)
    return [
      {
        severity: 'warning',
        message: `state_dir was lost; this node asks to be let in again by ${sources.lost.join(', ')}`,
        hint: `bring one of them up; then there:  steep-repl nodes readmit ${own}`,
      },
    ];
  if (cluster.id === null)
    return [
      {
        severity: 'warning',
        message: 'this node belongs to no cluster yet',
        hint: 'steep-repl nodes join HOST:PORT',
      },
    ];
  return [...peerIssues(cluster), ...voteIssues(cluster), ...coordinatorIssues(sources)];
}

function peerIssues(cluster: Cluster): Issue[] {
  return cluster
    .peers()
    .filter(({ status }) => status === 'degraded' || status === 'unreachable') // offline is what somebody wanted
    .map(({ member, status, silence, failure }) => {
      const address = rpcAddress(member);
      const where = address === undefined ? '' : ` (${formatHostPort(address)})`;
      const since = status === 'unreachable' ? ` for ${Math.round(silence / 1000)} s` : '';
      return {
        severity: 'warning',
        message: `${member.node_id}${where} ${status}${since}${failure === undefined ? '' : `: ${failure}`}`,
        hint: 'on that host:  steep-repl status',
      };
    });
}

function voteIssues({ list, self, instanceId }: Cluster): Issue[] {
  const issues: Issue[] = [];
  for (const { node_id: id, vote, instance_id, state } of list.nodes) {
    if (state === 'removed') continue;
    const another = id === self.node_id && instance_id !== instanceId && instance_id !== '';
    if (vote === 'suspended' || another)
      issues.push({
        severity: 'warning',
        message: `${id} does not vote: its state_dir was lost, or is an old copy`,
        hint: `${another ? 'on another node:  ' : ''}steep-repl nodes readmit ${id}`,
      });
    if (state === 'offline')
      issues.push({ severity: 'note', message: `${id} is offline`, hint: `steep-repl nodes online ${id}` });
  }
  return issues;
}

function coordinatorIssues(sources: ClusterIssueSources): Issue[] {
  const { cluster, hasCoordinator, uptime, startTime, twoNode, store } = sources;
  const those = voters(cluster.list);
  const issues: Issue[] = [];
  if (store === 'builtin' && twoNode === 'promote' && those.length === 2)
    issues.push({
      severity: 'note',
      message: 'election.two_node is promote: when the network is cut there can be two coordinators',
      hint: 'add a witness, then set it to safe',
    });
  if (hasCoordinator) return issues;
  const seen = new Map(cluster.peers().map((peer) => [peer.member.node_id, peer]));
  const silent = those
    .map(({ node_id }) => node_id)
    .filter(
      (id) =>
        id !== cluster.self.node_id && ['unreachable', 'unknown'].includes(seen.get(id)?.seen ?? 'unknown'),
    );
  const own = rpcAddress(cluster.self);
  const needed = Math.floor(those.length / 2) + 1;
  const answering = those.length - silent.length;
  if (uptime < startTime)
    issues.push({ severity: 'note', message: 'no coordinator has been heard since the start', hint: null });
  else if (store === 'etcd') return issues;
  else if (answering < needed)
    issues.push({
      severity: 'warning',
      message: `no coordinator: ${answering} of ${those.length} voters ${answering === 1 ? 'answers' : 'answer'}, ${needed} are needed`,
      hint: remedy(cluster, silent, those.length),
    });
  else if (those.every(({ role }) => role === 'witness'))
    issues.push({
      severity: 'warning',
      message: 'no coordinator: only witnesses belong to this cluster',
      hint: `on a node with a PostgreSQL:  steep-repl nodes join ${own === undefined ? 'HOST:PORT' : formatHostPort(own)}`,
    });
  else if (!those.some(({ role, state }) => role === 'node' && state === 'member'))
    issues.push({
      severity: 'warning',
      message: 'no coordinator: only nodes that are offline could be one',
      hint: remedy(cluster, silent, those.length),
    });
  else
    issues.push({
      severity: 'warning',
      message: 'no coordinator at the moment',
      hint: 'steep-repl nodes list',
    });
  return issues;
}

function remedy(cluster: Cluster, silent: string[], count: number): string {
  if (silent.length === 0) return 'steep-repl nodes list';
  const survivors = voters(cluster.list)
    .map(({ node_id }) => node_id)
    .filter((id) => !silent.includes(id) && find(cluster.list, id)?.state !== 'removed');
  const recover = `steep-repl cluster recover --survivors ${survivors.join(',')}`;
  return count === 2
    ? `bring ${silent.join(', ')} back, or ${recover}; add a witness while both run`
    : `bring back ${silent.join(', ')}; if they are lost for good: ${recover}`;
}
