/**
 * What nodes say of themselves: a table that all nodes bring to the same state by telling each other rows, in
 * whatever order and however often. Who belongs is not decided here (list.ts).
 *
 * A row is decided by the revision of its facts. A node is the author of its own facts: where it meets its own row
 * with a higher revision, it goes above that. Two nodes may have given one revision to different facts of a peer
 * that counts none: which of them wins does not matter, but it must be the same one everywhere.
 */
import { type Member, type NodeFacts, sameFacts } from './member.ts';

export class Registry {
  private readonly selfId: string;
  private readonly rows = new Map<string, { member: Member; change: number }>();
  private changes = 0;

  constructor(self: NodeFacts & { instance_id: string }, stored: readonly Member[]) {
    this.selfId = self.node_id;
    for (const member of stored) this.set(member);
    const before = this.rows.get(self.node_id)?.member;
    const revision =
      before === undefined ? 1 : sameFacts(before, self) ? before.revision : before.revision + 1;
    this.set({ ...self, revision });
  }

  /** This node's own row. */
  get self(): Member {
    const row = this.rows.get(this.selfId);
    if (!row) throw new Error('the own row is never deleted');
    return row.member;
  }

  /** Every row: what must be stored and passed on. */
  all(): Member[] {
    return [...this.rows.values()].map(({ member }) => member);
  }

  find(nodeId: string): Member | undefined {
    return this.rows.get(nodeId)?.member;
  }

  /** Counts up with every change of a row. */
  get version(): number {
    return this.changes;
  }

  /** Rows that changed after a version. */
  changedSince(version: number): Member[] {
    return [...this.rows.values()].filter(({ change }) => change > version).map(({ member }) => member);
  }

  /** Takes a row from a peer if it is newer; true when something changed. */
  merge(incoming: Member): boolean {
    const known = this.rows.get(incoming.node_id)?.member;
    if (!known) return this.set(incoming);
    if (incoming.node_id === this.selfId) return this.mergeSelf(known, incoming);
    if (incoming.revision !== known.revision)
      return incoming.revision > known.revision ? this.set(incoming) : false;
    return keyOf(incoming) > keyOf(known) ? this.set(incoming) : false;
  }

  private mergeSelf(self: Member, incoming: Member): boolean {
    const outdated =
      incoming.revision > self.revision ||
      (incoming.revision === self.revision && !sameFacts(incoming, self));
    return outdated ? this.set({ ...self, revision: incoming.revision + 1 }) : false;
  }

  /** This node is another copy of itself from now on. */
  reissue(instance_id: string): void {
    this.set({ ...this.self, instance_id, revision: this.self.revision + 1 });
  }

  /** Forgets everybody else: a node that joins another cluster takes over that one's rows. */
  startOver(): void {
    const { self } = this;
    this.rows.clear();
    this.set(self);
  }

  /** Puts rows back as they were. */
  restore(rows: readonly Member[]): void {
    this.rows.clear();
    for (const member of rows) this.set(member);
  }

  private set(member: Member): boolean {
    this.changes += 1;
    this.rows.set(member.node_id, { member, change: this.changes });
    return true;
  }
}

function keyOf(member: Member): string {
  return JSON.stringify(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
