/** What operations are asked about: the daemon, as seen through the few things that they need. */
import type { Cluster } from '../cluster/cluster.ts';
import type { PeerStatus } from '../cluster/detector.ts';
import type { Config } from '../config/schema.ts';
import type { AuditEntry } from '../db/audit-log.ts';
import type { Database } from '../db/database.ts';
import type { Member } from '../cluster/member.ts';
import type { NodeRow } from '../db/nodes.ts';
import type { HostPort } from '../lib/host-port.ts';
import type { Coordination } from './coordination.ts';
import type { RemoteHealth } from './remote-health.ts';

export type Phase = 'starting' | 'running' | 'stopping';

/** Something that a DBA should know. Warnings and errors make the daemon degraded and `status` exit with 4. */
export interface Issue {
  severity: 'note' | 'warning' | 'error';
  message: string;
  hint: string | null;
}

export interface DoorStatus {
  listening: boolean;
  /** IPC: the address where clients look first. */
  path?: string;
  port?: number;
}

export interface GrpcStatus extends DoorStatus {
  tls: boolean;
  /** Of our own certificate; undefined without TLS. */
  certificateExpires?: Date;
}

export interface CoordinatorView {
  node_id: string | null;
  term: number | null;
  /** RFC 3339. */
  since: string | null;
}

export interface ReloadOutcome {
  /** Keys whose new values are in force. */
  changed: string[];
  /** Keys whose new values wait for the next start. */
  at_next_start: string[];
}

export interface Subject {
  readonly version: string;
  readonly startedAt: Date;
  /** Milliseconds since then, by a clock that nobody sets. */
  uptime(): number;
  phase(): Phase;
  config(): Config;
  /** Undefined for a witness. */
  readonly database: Database | undefined;
  doors(): { ipc: DoorStatus; http: DoorStatus; grpc: GrpcStatus };
  issues(): Issue[];
  /** The registry as last read; undefined before PostgreSQL was reached for the first time. */
  readonly knownNodes: () => NodeRow[] | undefined;
  coordinator(): CoordinatorView;
  /** Who decides, and what is asked of it. */
  readonly coordination: Coordination;
  /** Identity, registry and signs of life; from memory. */
  readonly cluster: Cluster;
  statusOf(nodeId: string): PeerStatus | 'offline';
  /** Says hello to a peer and takes over its cluster. Throws what the peer answers, CONFLICT, CANNOT_CONNECT. */
  join(address: HostPort): Promise<Member>;
  /** Asks a peer, or any program that speaks Coordinator, how it is. Throws as `join`. */
  remoteHealth(address: HostPort): Promise<RemoteHealth>;
  /** The rows of the registry are not what they were: PostgreSQL and peers are to be told. */
  registryChanged(): void;
  /** Writes into the audit trail that somebody's registration was refused. */
  auditRefusal(name: string, address: string, reason: string): void;
  /** Puts the configuration file in force again. Throws CONFIG_INVALID, and then nothing has changed. */
  reload(actingFor: string | null): ReloadOutcome;
  /** Calls back for each new entry of the audit trail, once; ends with the returned function. */
  onAuditEntry(listener: (entry: AuditEntry) => void): () => void;
}
