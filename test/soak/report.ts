/** What came out, for people and as JSON. */
import type { LogCounts } from './checks/logs.ts';
import type { LifeResources } from './checks/resources.ts';
import type { TrailCounts } from './checks/trail.ts';
import type { Struck } from './run.ts';
import { INVARIANTS, type Invariant } from './world.ts';

/** Of what was wrong in one way: the first of it tells the most. */
const SHOWN = 8;

export interface Report {
  seed: number;
  minutes: number;
  nodes: number;
  ran_minutes: number;
  faults: Struck[];
  coordinator: { elections: number; without_seconds: number };
  clients: { ipc: number; http: number; events: number };
  trail: (TrailCounts & { node: string })[];
  resources: LifeResources[];
  logs: LogCounts[];
  wrong: Partial<Record<Invariant, string[]>>;
}

export function table(report: Report): string {
  const { faults, coordinator, clients, trail, resources, logs, wrong } = report;
  const lines = [
    `seed ${report.seed}: ${report.ran_minutes.toFixed(1)} minutes, ${report.nodes} nodes, ${faults.length} rounds of faults`,
    '',
    `coordinator  ${coordinator.elections} elections; ${coordinator.without_seconds.toFixed(0)} s without one; back ${times(faults, 'coordinator')} after a fault's end`,
    `all well     ${times(faults, 'well')} after a fault's end`,
    `readers      ${clients.ipc} IPC, ${clients.http} HTTP, ${clients.events} events`,
    ...trail.map(
      (one) =>
        `${one.node.padEnd(12)} ${one.rows} audit rows; clients: ${one.confirmed} changes, ${one.rolledBack} rolled back, ${one.unknown} without an answer; ${one.events} events of the daemon`,
    ),
    ...resources.map(
      ({ node, minutes, memory, peak, handles }) =>
        `${node.padEnd(12)} longest life ${minutes.toFixed(1)} min: ${memory ? `${memory.first.toFixed(0)} → ${memory.last.toFixed(0)}` : '-'} MB, peak ${peak.toFixed(0)}; handles ${handles ? `${handles.first} → ${handles.last}, most ${handles.most}` : '-'}`,
    ),
    ...logs.map(
      ({ node, lines: n, bytesPerHour, warnings, errors }) =>
        `${node.padEnd(12)} ${n} log lines, ${(bytesPerHour / 1000).toFixed(0)} kB an hour; ${warnings} warnings, ${errors} errors`,
    ),
    '',
  ];
  for (const [key, name] of Object.entries(INVARIANTS)) {
    const list = wrong[key as Invariant] ?? [];
    lines.push(
      `${list.length === 0 ? 'ok  ' : 'FAIL'} ${name}`,
      ...shortened(list).map((text) => `       ${text}`),
    );
  }
  return lines.join('\n');
}

function shortened(list: string[]): string[] {
  return list.length <= SHOWN ? list : [...list.slice(0, SHOWN), `… and ${list.length - SHOWN} more`];
}

/** `0.3 s (0.1–4.0)`: median, least and most. */
function times(faults: Struck[], key: 'coordinator' | 'well'): string {
  const sorted = faults.flatMap((one) => one[key] ?? []).sort((a, b) => a - b);
  if (sorted.length === 0) return '-';
  const [least, middle, most] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((i) =>
    sorted[i]!.toFixed(1),
  );
  return `${middle} s (${least}–${most})`;
}
