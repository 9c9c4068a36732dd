/** What must hold: always, looked at after every event, and in the end, when everything was mended. */
import {
  belonging,
  type Change,
  compare,
  find,
  type MemberList,
  type Version,
  voters,
} from '../../src/cluster/list.ts';
import type { Faults, SimNode } from './node.ts';

export class Violation extends Error {}

export class Promises {
  private readonly nodes: readonly SimNode[];
  private readonly faults: Faults;
  private readonly lists = new Map<string, MemberList>();
  /** From which list each was made. */
  private readonly parents = new Map<string, string>();
  /** The last list that was called done, and those of the present event. */
  private committed: MemberList | undefined;
  private readonly done: MemberList[] = [];
  private blamed: string | undefined;
  private grounded: { list?: MemberList; done?: MemberList } = {};
  private readonly checked = new Map<string, { list: MemberList; term: number; instance: string }>();
  /** What an operator asked last of each node, and whether it was done. */
  private readonly wishes = new Map<string, { kind: Change['kind']; done: boolean }>();

  constructor(nodes: readonly SimNode[], faults: Faults) {
    this.nodes = nodes;
    this.faults = faults;
  }

  /** An operator asks for something; what to call when it is done. */
  wished(id: string, kind: Change['kind']): () => void {
    const wish = { kind, done: false };
    this.wishes.set(id, wish);
    return () => {
      wish.done = true;
    };
  }

  /** Lists that majorities have: none of them is ever lost, or there twice with different nodes. */
  commit(list: MemberList): void {
    const before = this.lists.get(nameOf({ term: list.term, number: list.number - 1 })) ?? list;
    for (const one of [before, list]) {
      const having = voters(one).filter(({ node_id, instance_id }) => {
        return this.stored(node_id, instance_id, list);
      });
      if (having.length <= voters(one).length / 2)
        this.blame(`list ${nameOf(list)} is called done without a majority`);
    }
    this.done.push(list);
  }

  /** Here and not at once: what runs in between may catch what is thrown. */
  blame(message: string): void {
    this.blamed ??= message;
  }

  check(now: number): void {
    if (this.blamed !== undefined) throw new Violation(this.blamed);
    for (const node of this.nodes) this.checkList(node);
    for (const list of this.done.splice(0)) {
      if (this.committed) this.requireGround(list, this.committed);
      this.committed = list;
    }
    let reigning: SimNode | undefined;
    for (const node of this.nodes) {
      if (!node.reigns) continue;
      if (reigning) throw new Violation(`${reigning.id} and ${node.id} coordinate at ${now.toFixed(0)}`);
      reigning = node;
      if (this.committed) this.requireGround(node.disk.list, this.committed);
    }
  }

  /** What was done is never lost: whatever comes after it was made from it. */
  private requireGround(list: MemberList, done: MemberList): void {
    if (this.grounded.list === list && this.grounded.done === done) return;
    const wanted = nameOf(done);
    let name: string | undefined = nameOf(list);
    while (name !== undefined && name !== wanted) name = this.parents.get(name);
    if (name === undefined)
      throw new Violation(`list ${nameOf(list)} was made without ${wanted}, which was done`);
    this.grounded = { list, done };
  }

  private checkList(node: SimNode): void {
    const { list, term, instance_id } = node.disk;
    const before = this.checked.get(node.id);
    if (before?.list === list && before.term === term) return;
    this.checked.set(node.id, { list, term, instance: instance_id });
    const same = before?.instance === instance_id && !node.replaced;
    if (same && term < before.term && !this.faults.forgetsVotes && !this.faults.trustsOldCopies)
      throw new Violation(`${node.id} went back from term ${before.term} to ${term}`);
    if (same && compare(list, before.list) < 0 && !this.faults.trustsOldCopies)
      throw new Violation(`${node.id} went back to an older list`);
  }

  /** A node has written another list to its disk. */
  wrote(before: MemberList, list: MemberList): void {
    const version = nameOf(list);
    const known = this.lists.get(version);
    if (known && JSON.stringify(known.nodes) !== JSON.stringify(list.nodes))
      this.blame(`there are two lists ${version}`);
    if (known) return;
    this.lists.set(version, list);
    if (before.nodes.length === 0 || version === nameOf(before)) return;
    this.parents.set(version, nameOf(before));
    if (before.term === list.term) this.checkBase(before, version);
  }

  /** One change at a time, and the first one on ground that a majority has. */
  private checkBase(base: MemberList, version: string): void {
    const having = voters(base).filter(({ node_id, instance_id }) => {
      return this.stored(node_id, instance_id, base);
    });
    if (having.length <= voters(base).length / 2)
      this.blame(`list ${version} is made before a majority has ${nameOf(base)}`);
  }

  /** What a copy once stored went with its disk: the copy after it is not to blame. */
  private stored(id: string, instance: string, list: Version): boolean {
    const node = this.node(id);
    if (!node) return false;
    return compare(node.disk.list, list) >= 0 || node.disk.instance_id !== instance || node.replaced;
  }

  /** A majority is connected and quiet: there is a coordinator, everybody follows it, and the list is the same. */
  checkEnd(): void {
    const list = newest(this.nodes);
    const able = this.nodes.filter(({ votes, id }) => votes && find(list, id)?.state !== 'removed');
    const learners = this.learners(list);
    const majority = voters(list).filter(
      ({ node_id, instance_id }) =>
        able.some(({ id, disk }) => id === node_id && disk.instance_id === instance_id) &&
        learners.has(node_id),
    );
    const holders = able.filter(({ disk }) => compare(disk.list, list) === 0);
    // One who may stand has the newest list, or may ask somebody for it: not one whom its own list calls removed.
    const standing = majority.some(({ node_id, role, state }) => {
      const own = this.node(node_id)?.disk.list;
      const learns = holders.some(({ id }) => id === node_id || (own && find(own, id)?.state !== 'removed'));
      return role === 'node' && state === 'member' && learns;
    });
    if (majority.length <= voters(list).length / 2 || !standing) return;
    const [coordinator, ...more] = coordinators(this.nodes);
    if (!coordinator || more.length > 0)
      throw new Violation(`${coordinators(this.nodes).length} coordinators in the end`);
    for (const node of this.nodes) {
      const listed = find(coordinator.disk.list, node.id);
      if (!listed || listed.state === 'removed' || node.disk.instance_id !== listed.instance_id) continue;
      if (node.disk.cluster_id === null) continue;
      // Let in by somebody who is gone, and never heard a coordinator: it has to join again.
      if (listed.vote !== 'yes' && !this.mayLearn(node, list)) continue;
      if (node.process?.coordinator?.node_id !== coordinator.id)
        throw new Violation(`${node.id} does not follow ${coordinator.id} in the end`);
    }
    if (this.committed && compare(coordinator.disk.list, this.committed) < 0)
      throw new Violation('a list that was done is forgotten');
    for (const [id, { kind, done }] of this.wishes)
      if (kind === 'offline' && done && find(coordinator.disk.list, id)?.state !== 'offline')
        throw new Violation(`${id} is not offline any more`);
  }

  /**
   * Who has this list, or can be told it by whom it knows: not one that was away while others came, and all whom it knew
   * lost their disks. Such a one believes nobody who is left, which docs/cluster.md says.
   */
  private learners(list: Version): Set<string> {
    const those = new Set(
      this.nodes.filter(({ disk }) => compare(disk.list, list) === 0).map(({ id }) => id),
    );
    for (let before = -1; before < those.size;) {
      before = those.size;
      for (const { id, disk } of this.nodes) {
        const belongs = find(disk.list, id)?.instance_id === disk.instance_id;
        if (belongs && belonging(disk.list).some(({ node_id }) => those.has(node_id))) those.add(id);
      }
    }
    return those;
  }

  /** Whether it has this list, or knows somebody who does. */
  private mayLearn({ id, disk }: SimNode, list: Version): boolean {
    return belonging(disk.list).some(({ node_id, instance_id }) => {
      const known = this.node(node_id)?.disk;
      return (
        known && (node_id === id || known.instance_id === instance_id) && compare(known.list, list) === 0
      );
    });
  }

  private node(id: string): SimNode | undefined {
    return this.nodes.find((one) => one.id === id);
  }
}

export function newest(nodes: readonly SimNode[]): MemberList {
  return nodes.map(({ disk }) => disk.list).reduce((a, b) => (compare(a, b) >= 0 ? a : b));
}

export function coordinators(nodes: readonly SimNode[]): SimNode[] {
  return nodes.filter(({ reigns }) => reigns);
}

export function nameOf({ term, number }: Version): string {
  return `${term}.${number}`;
}
