/**
 * Who belongs to the cluster, as this node knows it: a table that all nodes bring to the same state by telling
 * each other rows, in whatever order and however often.
 *
 * A row is decided by its membership first, so that a removed node cannot come back by announcing newer facts,
 * and by the revision of its facts second. A node is the author of its own facts: where it meets its own row with
 * a higher revision, it goes above that. Two nodes may have given one revision to different facts of a peer that
 * counts none: which of them wins does not matter, but it must be the same one everywhere.
 */
import { belongs, type Member, type NodeFacts, sameFacts } from './member.ts';

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
    this.set({ ...self, revision, membership: before?.membership ?? 0 });
  }

  /** This node's own row. */
  get self(): Member {
    const row = this.rows.get(this.selfId);
    if (!row) throw new Error('the own row is never deleted');
    return row.member;
  }

  /** Every row, removed nodes too: what must be stored and passed on. */
  all(): Member[] {
    return [...this.rows.values()].map(({ member }) => member);
  }

  /** Those who belong, by id. */
  members(): Member[] {
    return this.all()
      .filter(belongs)
      .sort((a, b) => (a.node_id < b.node_id ? -1 : 1));
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
    if (incoming.membership !== known.membership)
      return incoming.membership > known.membership ? this.set(incoming) : false;
    if (incoming.revision !== known.revision)
      return incoming.revision > known.revision ? this.set(incoming) : false;
    return keyOf(incoming) > keyOf(known) ? this.set(incoming) : false;
  }

  private mergeSelf(self: Member, incoming: Member): boolean {
    const membership = Math.max(self.membership, incoming.membership);
    const outdated =
      incoming.revision > self.revision ||
      (incoming.revision === self.revision && !sameFacts(incoming, self));
    const revision = outdated ? incoming.revision + 1 : self.revision;
    return membership !== self.membership || outdated ? this.set({ ...self, membership, revision }) : false;
  }

  /** Removes a node for good; undefined when it does not belong. */
  remove(nodeId: string): Member | undefined {
    return this.turn(nodeId, true);
  }

  /** Lets a removed node come back; undefined when it was not removed. */
  readmit(nodeId: string): Member | undefined {
    return this.turn(nodeId, false);
  }

  private turn(nodeId: string, belonged: boolean): Member | undefined {
    const member = this.find(nodeId);
    if (!member || belongs(member) !== belonged) return undefined;
    const turned = { ...member, membership: member.membership + 1 };
    this.set(turned);
    return turned;
  }

  /** Forgets everybody else: a node that joins another cluster takes over that one's rows. */
  startOver(): void {
    const { self } = this;
    this.rows.clear();
    this.set({ ...self, membership: 0 });
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
