/**
 * A cluster in virtual time, from a seed: 2 to 7 nodes with clocks of their own, a network that loses, doubles,
 * delays and cuts, disks, crashes, sleep, and an operator who changes the membership in the middle of it. What
 * must always hold is looked at after every event; what must hold in the end, after everything was mended.
 */
import type { ElectionEvent } from '../../src/cluster/election.ts';
import {
  type Change,
  compare,
  find,
  foundersList,
  type MemberList,
  type Version,
  voters,
} from '../../src/cluster/list.ts';
import type { Answer, Request } from '../../src/cluster/messages.ts';
import { rules as allRules, type Rules } from '../../src/cluster/rules.ts';
import { SteepError } from '../../src/lib/errors.ts';
import { Agenda } from './heap.ts';
import { CLUSTER, type Faults, LEASE, SimNode, type World } from './node.ts';
import { Random } from './random.ts';

export interface Scenario {
  seed: number;
  rules?: Partial<Rules>;
  faults?: Faults;
  /** Prints what happens. */
  trace?: (line: string) => void;
}

export class Violation extends Error {}

const TICK = 150;
const TROUBLE_MS = 25_000;
/** After the last fault: the longest promise, the longest wait to stand, a round, and slow answers. */
const QUIET_MS = 4 * LEASE;

type Step = () => void;

export class Simulation implements World {
  now = 0;
  readonly random: Random;
  readonly rules: Rules;
  readonly faults: Faults;
  slowDisks: boolean;
  readonly nodes: SimNode[] = [];
  elections = 0;
  changes = 0;
  private readonly agenda = new Agenda<Step>();
  private readonly cut = new Set<string>();
  private readonly lists = new Map<string, MemberList>();
  private readonly trace: ((line: string) => void) | undefined;
  /** From which list each was made. */
  private readonly parents = new Map<string, string>();
  /** The last list that was called done, and those of the present event. */
  private committed: MemberList | undefined;
  private readonly done: MemberList[] = [];
  private blamed: string | undefined;
  private grounded: { list?: MemberList; done?: MemberList } = {};
  private troubled = true;
  private loss = 0;
  private jitter = 5;
  private readonly lateness: number;
  /** How often a list does not come along with its message. */
  private readonly bareness: number;
  /** What an operator asked last of each node, and whether it was done. */
  private readonly wishes = new Map<string, { kind: Change['kind']; done: boolean }>();

  constructor({ seed, rules = {}, faults = {}, trace }: Scenario) {
    this.random = new Random(seed);
    this.rules = { ...allRules, ...rules };
    this.faults = faults;
    this.slowDisks = this.random.chance(0.3);
    this.lateness = this.random.of([0, 0.02, 0.1]);
    this.bareness = this.random.of([0, 0, 0.5]);
    this.trace = trace;
  }

  /** Runs the whole schedule. Throws Violation. */
  run(): void {
    this.found();
    for (let at = 500; at < TROUBLE_MS; at += this.random.between(100, 2500))
      this.agenda.put(at, () => this.trouble());
    this.runUntil(TROUBLE_MS);
    this.mend();
    this.runUntil(TROUBLE_MS + QUIET_MS);
    this.checkEnd();
  }

  /** 1 to 6 voters that know each other, and one or two that are still to join. */
  private found(): void {
    const size = 2 + this.random.below(6);
    // Nodes need not agree on who is better.
    const alike = this.random.chance(0.3);
    const joined = this.random.chance(0.3) ? 1 : Math.max(1, size - this.random.below(2));
    for (let index = 0; index < size; index += 1) {
      const witness = index > 0 && size > 2 && this.random.chance(0.2);
      const node = new SimNode(this, `n${index}`, witness ? 'witness' : 'node', alike ? 0 : index);
      this.nodes.push(node);
    }
    const [first] = this.nodes;
    if (!first) return;
    const founder = { node_id: first.id, instance_id: first.disk.instance_id, role: first.role };
    let list = foundersList(founder);
    const members = this.nodes.slice(0, joined);
    list = {
      ...list,
      nodes: members.map(({ id, role, disk }) => ({
        node_id: id,
        instance_id: disk.instance_id,
        role,
        state: 'member',
        vote: 'yes',
      })),
    };
    for (const node of members) node.disk = { ...node.disk, cluster_id: CLUSTER, list };
    for (const node of this.nodes) {
      node.start();
      this.agenda.put(this.random.between(0, TICK), () => this.tick(node));
    }
  }

  private runUntil(end: number): void {
    for (;;) {
      const next = this.agenda.take();
      if (!next) throw new Error('nothing is left to happen');
      if (next.at > end) {
        this.agenda.put(next.at, next.what);
        this.now = end;
        return;
      }
      this.now = next.at;
      next.what();
      this.check();
    }
  }

  private tick(node: SimNode): void {
    node.wake();
    if (this.now >= node.awayUntil) {
      node.act((process) => process.tick());
      if (this.random.chance(0.3)) node.mirrorNow();
      if (node.process) this.maybeJoin(node);
    }
    this.agenda.put(this.now + TICK, () => this.tick(node));
  }

  // --- the network -----------------------------------------------------------------------------------------

  send(from: SimNode, to: string, request: Request, delay: number): void {
    const target = this.node(to);
    const { process } = from;
    if (!target || !process) return;
    const carried = this.bare() && request.kind === 'renew' ? { ...request, list: undefined } : request;
    this.carry(from, target, delay, () => {
      let answer: Answer | undefined;
      target.act((running) => (answer = running.handle(from.id, carried)));
      if (!answer) return;
      const told = this.bare() ? { ...answer, newer: undefined } : answer;
      this.carry(target, from, target.awayUntil - this.now, () => {
        // Answers find the process that asked, or nobody.
        if (from.process === process) from.act((running) => running.answered(to, request, told));
      });
    });
  }

  /** Nothing may rest on a list that came along: what a node acknowledges is all that counts. */
  private bare(): boolean {
    return this.troubled && this.bareness > 0 && this.random.chance(this.bareness);
  }

  /** Once, twice or never; at once or late. */
  private carry(from: SimNode, to: SimNode, delay: number, arrive: Step): void {
    const copies = this.random.chance(this.loss) ? 0 : this.random.chance(this.loss / 2) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const late = this.troubled && this.random.chance(this.lateness) ? this.random.between(0, 8000) : 0;
      const at = this.now + Math.max(0, delay) + this.random.between(0.2, this.jitter) + late;
      this.agenda.put(at, () => this.deliver(from, to, arrive));
    }
  }

  private deliver(from: SimNode, to: SimNode, arrive: Step): void {
    if (this.cut.has(`${from.id}>${to.id}`)) return;
    to.wake();
    if (this.now < to.awayUntil) this.agenda.put(to.awayUntil, () => this.deliver(from, to, arrive));
    else if (to.process) arrive();
  }

  // --- trouble ---------------------------------------------------------------------------------------------

  private trouble(): void {
    const { random } = this;
    const node = random.of(this.nodes);
    const kinds: Step[] = [
      () => this.crash(node),
      () => this.crash(node),
      () => this.partition(),
      () => this.partition(),
      () => this.isolate(node),
      () => this.cutPair(),
      () => this.cutPair(),
      () => this.cut.clear(),
      () => this.cut.clear(),
      () => this.blink(node),
      () => this.blink(node),
      () => (node.awayUntil = Math.max(node.awayUntil, this.now + random.between(100, 9000))),
      () => node.sleepUntil(this.now + random.between(100, 20_000)),
      () => node.jumpWall(random.between(-20_000, 20_000)),
      () => (node.healthy = false),
      () => (node.healthy = true),
      () => (this.loss = random.chance(0.5) ? 0 : random.between(0, 0.4)),
      () => (this.jitter = random.chance(0.5) ? 5 : random.between(5, 1500)),
      () => this.operate(),
      () => this.operate(),
      () => this.operate(),
      () => this.coordinators().forEach((one) => this.crash(one)),
      () => this.coordinators().forEach((one) => this.isolate(one)),
      () => this.coordinators().forEach((one) => one.act((process) => process.resign('it was told to'))),
      () => this.loseDisk(node),
      () => this.restoreDisk(node),
      () => this.restoreDisk(node),
      () => this.restoreDisk(node),
    ];
    random.of(kinds)();
  }

  private crash(node: SimNode): void {
    this.note(`${node.id} crashes`);
    if (this.random.chance(0.5)) node.stop();
    else node.crashAt = this.random.chance(0.5) ? 'before' : 'after';
    this.agenda.put(this.now + this.random.between(50, 9000), () => {
      if (node.process || this.now < node.awayUntil) return;
      this.note(`${node.id} starts`);
      node.start();
    });
  }

  /** A process that is back at once: what others hold against it has not run out yet. */
  private blink(node: SimNode): void {
    if (this.now < node.awayUntil) return;
    this.note(`${node.id} blinks`);
    node.stop();
    this.agenda.put(this.now + this.random.between(10, 300), () => {
      if (!node.process) node.start();
    });
  }

  /** Two that do not hear each other, while all others hear both. */
  private cutPair(): void {
    const [coordinator] = this.coordinators();
    const a = coordinator && this.random.chance(0.7) ? coordinator : this.random.of(this.nodes);
    const b = this.random.of(this.nodes);
    this.note(`cut: ${a.id} and ${b.id}`);
    this.cut.add(`${a.id}>${b.id}`);
    this.cut.add(`${b.id}>${a.id}`);
  }

  private partition(): void {
    const side = new Set(this.nodes.filter(() => this.random.chance(0.5)).map(({ id }) => id));
    const oneWay = this.random.chance(0.3);
    this.cut.clear();
    for (const a of this.nodes)
      for (const b of this.nodes)
        if (side.has(a.id) && !side.has(b.id)) {
          this.cut.add(`${a.id}>${b.id}`);
          if (!oneWay) this.cut.add(`${b.id}>${a.id}`);
        }
    this.note(`cut${oneWay ? ' one way' : ''}: ${[...side].join(' ')} | the others`);
  }

  private isolate(node: SimNode): void {
    this.note(`cut: ${node.id}`);
    for (const other of this.nodes) {
      this.cut.add(`${node.id}>${other.id}`);
      if (this.random.chance(0.7)) this.cut.add(`${other.id}>${node.id}`);
    }
  }

  /** A disk is lost: the node is a new copy. Never so many that no majority could ever be had again. */
  private loseDisk(node: SimNode): void {
    if (!this.maySpare(node)) return;
    this.note(`${node.id} loses its disk`);
    node.stop();
    node.disk = node.blank();
    node.mirror = undefined;
    node.backups.length = 0;
    node.start();
  }

  private restoreDisk(node: SimNode): void {
    const backup = node.backups.find(({ serial }) => serial < (node.mirror?.serial ?? 0));
    if (!backup || !this.maySpare(node)) return;
    this.note(`${node.id} starts with an old copy of its disk`);
    node.stop();
    node.disk = backup;
    node.start();
  }

  /** The disk of somebody who may just have voted comes back without its last write. */
  private rewindSoon(candidate: SimNode): void {
    const node = this.random.of(this.nodes);
    if (node === candidate) return;
    this.agenda.put(this.now + this.random.between(1, 300), () => {
      const { previous } = node;
      if (!previous || !node.healthy || !node.process || !this.maySpare(node)) return;
      this.note(`${node.id} starts without its last write`);
      node.mirrorNow();
      node.stop();
      node.disk = previous;
      node.start();
    });
  }

  private maySpare(node: SimNode): boolean {
    const list = this.newest();
    const alive = voters(list).filter(
      ({ node_id, instance_id }) =>
        node_id !== node.id && this.node(node_id)?.disk.instance_id === instance_id,
    );
    const standing = alive.some(({ role, state }) => role === 'node' && state === 'member');
    return alive.length >= Math.floor(voters(list).length / 2) + 1 && standing && this.random.chance(0.5);
  }

  private operate(): void {
    const [coordinator] = this.coordinators();
    if (!coordinator) return;
    const node = this.random.of(this.nodes);
    const kind = this.random.of(['remove', 'readmit', 'offline', 'online', 'online'] as const);
    if (kind === 'remove' && (node === coordinator || !this.maySpare(node))) return;
    if (kind === 'offline' && !this.maySpare(node)) return;
    const wish = { kind, done: false };
    this.wishes.set(node.id, wish);
    this.ask(coordinator, { kind, node_id: node.id }, () => {
      wish.done = true;
    });
  }

  private ask(coordinator: SimNode, change: Change, then: (list: MemberList) => void): void {
    coordinator.act((process) =>
      process.change(change, (outcome) => {
        if (outcome instanceof SteepError || !coordinator.process) return;
        this.changes += 1;
        this.note(`${coordinator.id} did ${change.kind} ${change.node_id}: ${nameOf(outcome)}`);
        this.commit(outcome);
        then(outcome);
      }),
    );
  }

  /** A node that is not in the list as this copy asks to be, and takes over what it is told. */
  private maybeJoin(node: SimNode): void {
    if (!this.troubled || !this.random.chance(0.05)) return;
    const coordinator = this.coordinators().find((one) => one !== node);
    if (!coordinator || this.now < coordinator.awayUntil) return;
    const listed = find(coordinator.disk.list, node.id);
    const { instance_id } = node.disk;
    if (listed?.instance_id === instance_id && node.disk.cluster_id !== null) return;
    const change = {
      kind: 'admit',
      node_id: node.id,
      instance_id,
      role: node.role,
      votes: true,
    } as const;
    this.ask(coordinator, change, (list) => {
      const { term } = coordinator.disk;
      this.agenda.put(this.now + this.random.between(1, 50), () => {
        if (node.disk.cluster_id !== null || node.disk.instance_id !== instance_id || !node.state) return;
        node.act((process) => {
          process.startOver();
          node.state?.update({ cluster_id: CLUSTER, term, vote: null, list });
        });
      });
    });
    // Whoever knows its cluster needs only to be listed again.
    if (listed?.vote === 'suspended') this.ask(coordinator, { kind: 'readmit', node_id: node.id }, () => {});
  }

  private mend(): void {
    this.note('everything is mended');
    this.troubled = false;
    this.cut.clear();
    this.loss = 0;
    this.jitter = 5;
    this.slowDisks = false;
    for (const node of this.nodes) {
      node.healthy = true;
      node.crashAt = undefined;
      node.awayUntil = Math.min(node.awayUntil, this.now);
      node.wake();
      if (!node.process) node.start();
    }
  }

  // --- what must hold --------------------------------------------------------------------------------------

  told(node: SimNode, event: ElectionEvent): void {
    if (!node.process) return;
    this.note(`${node.id} ${JSON.stringify(event)} ${nameOf(node.disk.list)}`);
    if (event.kind === 'standing' && this.troubled && this.random.chance(0.05)) this.rewindSoon(node);
    if (event.kind !== 'elected') return;
    this.elections += 1;
  }

  /** Lists that majorities have: none of them is ever lost, or there twice with different nodes. */
  private commit(list: MemberList): void {
    const before = this.lists.get(nameOf({ term: list.term, number: list.number - 1 })) ?? list;
    for (const one of [before, list]) {
      const having = voters(one).filter(({ node_id, instance_id }) => {
        const disk = this.node(node_id)?.disk;
        // What another copy once stored went with its disk.
        return disk && (compare(disk.list, list) >= 0 || disk.instance_id !== instance_id);
      });
      if (having.length <= voters(one).length / 2)
        this.blame(`list ${nameOf(list)} is called done without a majority`);
    }
    this.done.push(list);
  }

  /** Here and not at once: what runs in between may catch what is thrown. */
  private blame(message: string): void {
    this.blamed ??= message;
  }

  private check(): void {
    if (this.blamed !== undefined) throw new Violation(this.blamed);
    for (const node of this.nodes) this.checkList(node);
    for (const list of this.done.splice(0)) {
      if (this.committed) this.requireGround(list, this.committed);
      this.committed = list;
    }
    let reigning: SimNode | undefined;
    for (const node of this.nodes) {
      if (!node.reigns) continue;
      if (reigning) throw new Violation(`${reigning.id} and ${node.id} coordinate at ${this.now.toFixed(0)}`);
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

  private readonly checked = new Map<string, { list: MemberList; term: number; instance: string }>();

  private checkList(node: SimNode): void {
    const { list, term, instance_id } = node.disk;
    const before = this.checked.get(node.id);
    if (before?.list === list && before.term === term) return;
    this.checked.set(node.id, { list, term, instance: instance_id });
    const same = before?.instance === instance_id;
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
      const disk = this.node(node_id)?.disk;
      return disk && (compare(disk.list, base) >= 0 || disk.instance_id !== instance_id);
    });
    if (having.length <= voters(base).length / 2)
      this.blame(`list ${version} is made before a majority has ${nameOf(base)}`);
  }

  /** A majority is connected and quiet: there is a coordinator, everybody follows it, and the list is the same. */
  private checkEnd(): void {
    const list = this.newest();
    const able = this.nodes.filter(({ votes, id }) => votes && find(list, id)?.state !== 'removed');
    const majority = voters(list).filter(({ node_id, instance_id }) =>
      able.some(({ id, disk }) => id === node_id && disk.instance_id === instance_id),
    );
    const holders = able.filter(({ disk }) => compare(disk.list, list) === 0);
    // One who may stand has the newest list, or may ask somebody for it: not one whom its own list calls removed.
    const standing = majority.some(({ node_id, role, state }) => {
      const own = this.node(node_id)?.disk.list;
      const learns = holders.some(({ id }) => id === node_id || (own && find(own, id)?.state !== 'removed'));
      return role === 'node' && state === 'member' && learns;
    });
    if (majority.length <= voters(list).length / 2 || !standing) return;
    const [coordinator, ...more] = this.coordinators();
    if (!coordinator || more.length > 0)
      throw new Violation(`${this.coordinators().length} coordinators in the end`);
    for (const node of this.nodes) {
      const listed = find(coordinator.disk.list, node.id);
      if (!listed || listed.state === 'removed' || node.disk.instance_id !== listed.instance_id) continue;
      if (node.disk.cluster_id === null) continue;
      if (node.process?.coordinator?.node_id !== coordinator.id)
        throw new Violation(`${node.id} does not follow ${coordinator.id} in the end`);
    }
    if (this.committed && compare(coordinator.disk.list, this.committed) < 0)
      throw new Violation('a list that was done is forgotten');
    for (const [id, { kind, done }] of this.wishes)
      if (kind === 'offline' && done && find(coordinator.disk.list, id)?.state !== 'offline')
        throw new Violation(`${id} is not offline any more`);
  }

  private newest(): MemberList {
    return this.nodes.map(({ disk }) => disk.list).reduce((a, b) => (compare(a, b) >= 0 ? a : b));
  }

  private coordinators(): SimNode[] {
    return this.nodes.filter(({ reigns }) => reigns);
  }

  private node(id: string): SimNode | undefined {
    return this.nodes.find((one) => one.id === id);
  }

  private note(line: string): void {
    this.trace?.(`${(this.now / 1000).toFixed(3).padStart(8)}  ${line}`);
  }
}

function nameOf({ term, number }: Version): string {
  return `${term}.${number}`;
}
