import { z } from 'zod';
import { operation } from './operation.ts';
import type { CoordinatorView, Issue, Phase, Subject } from './subject.ts';

export interface Status {
  state: Phase;
  pid: number;
  uptime_seconds: number;
  start_time: string;
  version: string;
  postgresql: PostgresqlStatus | null;
  grpc: {
    enabled: boolean;
    listening: boolean;
    bind: string | null;
    port: number | null;
    tls_enabled: boolean;
    certificate_expires: string | null;
  };
  ipc: { listening: boolean; path: string | null };
  http: { enabled: boolean; listening: boolean; bind: string | null; port: number | null };
  node: {
    node_id: string;
    node_name: string;
    role: 'node' | 'witness';
    is_coordinator: boolean;
    cluster_size: number;
  };
  coordinator: CoordinatorView;
  issues: Issue[];
}

export interface PostgresqlStatus {
  connected: boolean;
  version: string | null;
  host: string;
  port: number;
  database: string;
  latency_ms: number | null;
  error: string | null;
}

export const statusGet = operation({
  params: z.object({}),
  changes: false,
  run: (_params, { subject }): Status => statusOf(subject),
});

/** From memory alone: it answers while PostgreSQL hangs. */
function statusOf(subject: Subject): Status {
  const config = subject.config();
  const { ipc, http, grpc } = subject.doors();
  const coordinator = subject.coordinator();
  return {
    state: subject.phase(),
    pid: process.pid,
    uptime_seconds: uptimeOf(subject),
    start_time: subject.startedAt.toISOString(),
    version: subject.version,
    postgresql: postgresqlOf(subject),
    grpc: {
      enabled: config.grpc.enabled,
      listening: grpc.listening,
      bind: grpc.listening ? config.grpc.bind : null,
      port: grpc.port ?? null,
      tls_enabled: grpc.tls,
      certificate_expires: grpc.certificateExpires?.toISOString() ?? null,
    },
    ipc: { listening: ipc.listening, path: ipc.path ?? null },
    http: {
      enabled: config.http.enabled,
      listening: http.listening,
      bind: http.listening ? config.http.bind : null,
      port: http.port ?? null,
    },
    node: {
      node_id: config.node_id,
      node_name: config.node_name,
      role: config.role,
      is_coordinator: coordinator.node_id === config.node_id,
      cluster_size: subject.cluster.members().length,
    },
    coordinator,
    issues: subject.issues(),
  };
}

export function uptimeOf(subject: Subject): number {
  return Math.floor(subject.uptime() / 1000);
}

/** Null for a witness. */
export function postgresqlOf({ database }: Subject): PostgresqlStatus | null {
  if (!database) return null;
  const { state, target } = database;
  const connected = state.kind === 'connected';
  return {
    connected,
    version: connected ? state.version : null,
    host: target.host,
    port: target.port,
    database: target.database,
    latency_ms: connected ? Math.round(state.latencyMs * 10) / 10 : null,
    error: state.kind === 'away' ? state.message : null,
  };
}
