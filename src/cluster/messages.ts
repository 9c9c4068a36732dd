/** What nodes ask each other about the coordinator; the wire's form of it is proto/steep/repl/v1/election.proto. */
import type { MemberList, Version } from './list.ts';

interface Common {
  cluster_id: string;
  term: number;
  /** Of the asking copy. */
  instance_id: string;
}

export type Request =
  /** May I? A trial changes nothing: it finds out whether standing for `term` would be in vain. */
  | (Common & { kind: 'vote'; trial: boolean; list: Version })
  /** I coordinate: promise me your `lease` milliseconds. The whole list goes to whoever has another one. */
  | (Common & { kind: 'renew'; lease: number; version: Version; list: MemberList | undefined; since: number })
  /** I coordinate no more: forget your promise. `successor`: who shall stand at once. */
  | (Common & { kind: 'release'; successor: string | null });

export interface Answer {
  granted: boolean;
  /** Why not, for people. */
  reason: string;
  term: number;
  instance_id: string;
  version: Version;
  /** The answering node's list, where it is newer than the asking one's. */
  newer: MemberList | undefined;
  /** Whether the node could coordinate itself. */
  healthy: boolean;
}
