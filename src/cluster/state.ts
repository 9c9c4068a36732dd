/** What survives in state_dir, and the one way to change it: on disk first, then in memory. */
import type { MemberList } from './list.ts';
import type { Member } from './member.ts';
import type { Vote } from './rules.ts';

export interface ClusterState {
  /** Made with the state_dir: tells two copies of one node apart. */
  instance_id: string;
  /**
   * Counts the writes since the state was found to be no old copy: PostgreSQL remembers it too, and so an old copy of
   * the file is known for one. If it counted while that was unknown, an old copy would catch up with what is remembered.
   */
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
  private believed = false;

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
    this.store(changes, this.believed ? 1 : 0);
  }

  /**
   * The state is no old copy, as far as anybody can tell: from now on writes count. This is the first, which stands for
   * those that did not, of this run or of one before. Throws what `write` throws.
   */
  believe(): void {
    if (this.believed) return;
    this.store({}, 1);
    this.believed = true;
  }

  private store(changes: Partial<ClusterState>, count: number): void {
    const fresh = { ...this.state, ...changes, serial: this.state.serial + count };
    this.write(fresh);
    this.state = fresh;
  }
}
