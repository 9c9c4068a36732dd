/** What `status` shows: state first, issues last, each with what to do about it. */
import type { NodeRow } from '../db/nodes.ts';
import { formatHostPort } from '../lib/host-port.ts';
import type { Status } from '../operations/status.ts';
import type { Issue } from '../operations/subject.ts';
import type { ShownNode } from '../operations/nodes.ts';
import { colour, formatSeconds, secondsSince, statusColours } from './format.ts';
import { folded, tableLines } from './output.ts';

const MARKS = { note: colour('dim', '·'), warning: colour('yellow', '!'), error: colour('red', '!') };

/** `runBy`: how this daemon and the service belong together, `(systemd, enabled)`. */
export function statusScreen(status: Status, nodes: NodeRow[], runBy?: string): string {
  const { node, state, pid, uptime_seconds: uptime, version } = status;
  const rows: [string, string][] = [
    [
      'State',
      `${state === 'running' ? colour('green', state) : colour('yellow', state)}, ${formatSeconds(uptime)}, pid ${pid}${runBy === undefined ? '' : ` (${runBy})`}`,
    ],
  ];
  if (status.postgresql) rows.push(['PostgreSQL', postgresqlLine(status.postgresql)]);
  if (status.grpc.enabled) rows.push(['gRPC', grpcLine(status.grpc)]);
  rows.push([
    'IPC',
    status.ipc.listening ? `listening on ${status.ipc.path}` : colour('red', 'not listening'),
  ]);
  if (status.http.enabled) rows.push(['HTTP', httpLine(status.http)]);
  rows.push(['Coordinator', coordinatorLine(status)]);
  rows.push(['Nodes', nodesLine(nodes)]);
  return [
    `steep-repl ${version} on ${nodeTitle(node)}`,
    ...rows.map(([label, text]) => `${label.padEnd(11)}  ${folded(text, 13)}`),
    ...issueLines(status.issues),
  ].join('\n');
}

/** What `status --watch` shows below: each node as it is seen at this moment. */
export function nodesTable(nodes: ShownNode[]): string {
  const rows = nodes.map(({ node_id, status, is_coordinator, round_trip_ms, last_seen }) => [
    node_id,
    colour(statusColours[status], status),
    is_coordinator ? 'coordinates' : '',
    round_trip_ms === null ? '-' : `${round_trip_ms} ms`,
    last_seen === null ? 'never' : `${formatSeconds(secondsSince(last_seen))} ago`,
  ]);
  return tableLines(['NODE', 'STATUS', '', 'ROUND TRIP', 'LAST SEEN'], rows).join('\n');
}

/** `node-a`, `node-a (Berlin)` with a name of its own, `w1 (witness)`. */
function nodeTitle({ node_id: id, node_name: name, role }: Status['node']): string {
  const more = [...(name === id ? [] : [name]), ...(role === 'witness' ? [role] : [])];
  return more.length === 0 ? id : `${id} (${more.join(', ')})`;
}

function postgresqlLine(postgresql: NonNullable<Status['postgresql']>): string {
  const { connected, version, host, port, database, latency_ms: latency, error } = postgresql;
  const where = `${formatHostPort({ host, port })}/${database}`;
  if (connected) return `${colour('green', 'connected')} ${version}, ${where}, ${latency} ms`;
  return `${colour('red', 'not connected')}, ${where}${error === null ? '' : `: ${error}`}`;
}

function grpcLine({
  listening,
  bind,
  port,
  tls_enabled: tls,
  certificate_expires: expires,
}: Status['grpc']): string {
  if (!listening || bind === null || port === null) return colour('red', 'not listening');
  const days = expires === null ? null : Math.floor(-secondsSince(expires) / 86_400);
  const security = tls ? 'mutual TLS' : colour('yellow', 'no TLS');
  return `listening on ${formatHostPort({ host: bind, port })}, ${security}${days === null ? '' : `, certificate valid ${days} days`}`;
}

function httpLine({ listening, bind, port }: Status['http']): string {
  return listening && bind !== null && port !== null
    ? `listening on ${formatHostPort({ host: bind, port })}`
    : colour('red', 'not listening');
}

function coordinatorLine({ coordinator: { node_id: id, term, since } }: Status): string {
  if (id === null) return 'none';
  return `${id}, term ${term}${since === null ? '' : `, for ${formatSeconds(secondsSince(since))}`}`;
}

/** `3: 2 healthy, 1 unreachable`, the worst last. */
function nodesLine(nodes: NodeRow[]): string {
  const order = ['healthy', 'unknown', 'degraded', 'offline', 'unreachable'];
  const counts = order
    .map((status) => ({ status, count: nodes.filter((node) => node.status === status).length }))
    .filter(({ count }) => count > 0)
    .map(({ status, count }) => `${count} ${status}`);
  return `${nodes.length}: ${counts.join(', ')}`;
}

function issueLines(issues: Issue[]): string[] {
  if (issues.length === 0) return [];
  return [
    '',
    ...issues.flatMap(({ severity, message, hint }) => [
      `${MARKS[severity]} ${folded(message, 2)}`,
      ...(hint === null ? [] : [`  hint: ${hint}`]),
    ]),
  ];
}
