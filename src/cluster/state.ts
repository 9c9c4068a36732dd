/** What survives in state_dir, and the one way to change it: on disk first, then in memory. */
import type { MemberList } from './list.ts';
import type { Member } from './member.ts';
import type { Vote } from './rules.ts';

export interface ClusterState {
  /** Made with the state_dir: tells two copies of one node apart. */
  instance_id: string;
  /** Counts the writes: PostgreSQL remembers it too, and so an old copy of the file is known for one. */
  serial: number;
  /** Null: belongs to no cluster yet. Terms and lists belong to it. */
  cluster_id: string | null;
  /** The highest term heard of. */
  term: number;
  /** Given in this term. */
  vote: Vote | null;
  list: MemberList;
  /** Milliseconds: the longest lease ever promised. */
  longest_promise: number;
  /** What nodes say of themselves. */
  members: readonly Member[];
}

export class Durable {
  private readonly write: (state: ClusterState) => void;
  private state: ClusterState;

  /** `write` is durable when it returns; what it throws has changed nothing for anybody. */
  constructor(state: ClusterState, write: (state: ClusterState) => void) {
    this.state = state;
    this.write = write;
  }

  get current(): Readonly<ClusterState> {
    return this.state;
  }

  /** Throws what `write` throws. */
  update(changes: Partial<Omit<ClusterState, 'serial'>>): void {
    const fresh = { ...this.state, ...changes, serial: this.state.serial + 1 };
    this.write(fresh);
    this.state = fresh;
  }
}
