/** What the daemon needs of whoever decides about the coordinator, beyond what can be asked through a door. */
import type { Coordination } from '../operations/coordination.ts';
import type { Issue } from '../operations/subject.ts';

export interface RunningCoordination extends Coordination, AsyncDisposable {
  /** Begins to take part. */
  start(): void;
  /** The state on disk is no old copy: from now on this node may vote and stand. */
  trust(): void;
  /** This node joins another cluster: what it was in the one before ends. */
  leave(): void;
  /** Ends a reign of this node and lets the others choose; does nothing where it does not coordinate. */
  resign(reason: string): Promise<void>;
  /** What is wrong with those who decide, where they are not the nodes themselves. */
  issues?(): Issue[];
}
