/** What operations are asked about: the daemon, as seen through the few things that they need. */
import type { Config } from '../config/schema.ts';
import type { AuditEntry } from '../db/audit-log.ts';
import type { Database } from '../db/database.ts';
import type { NodeRow } from '../db/nodes.ts';

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
  phase(): Phase;
  config(): Config;
  /** Undefined for a witness. */
  readonly database: Database | undefined;
  doors(): { ipc: DoorStatus; http: DoorStatus };
  issues(): Issue[];
  /** The registry as last read; undefined before PostgreSQL was reached for the first time. */
  readonly knownNodes: () => NodeRow[] | undefined;
  coordinator(): CoordinatorView;
  /** Puts the configuration file in force again. Throws CONFIG_INVALID, and then nothing has changed. */
  reload(): ReloadOutcome;
  /** Calls back for each new entry of the audit trail, once; ends with the returned function. */
  onAuditEntry(listener: (entry: AuditEntry) => void): () => void;
}
