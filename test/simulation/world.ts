/**
 * A cluster in virtual time, from a seed: 2 to 7 nodes with clocks of their own, a network that loses, doubles,
 * delays and cuts, disks, crashes, sleep, and an operator who changes the membership in the middle of it. What
 * must always hold is looked at after every event; what must hold in the end, after everything was mended.
 */
import type { ElectionEvent } from '../../src/cluster/election.ts';
import { type Change, find, foundersList, type MemberList } from '../../src/cluster/list.ts';
import type { Answer, Request } from '../../src/cluster/messages.ts';
import { rules as allRules, type Rules } from '../../src/cluster/rules.ts';
import { SteepError } from '../../src/lib/errors.ts';
import { Agenda } from './heap.ts';
import { Network, type Step } from './network.ts';
import { CLUSTER, type Faults, SimNode, type World } from './node.ts';
import { coordinators, nameOf, Promises } from './promises.ts';
import { Random } from './random.ts';
import { Trouble } from './trouble.ts';

export interface Scenario {
  seed: number;
  rules?: Partial<Rules>;
  faults?: Faults;
  /** Prints what happens. */
  trace?: (line: string) => void;
}

const TICK = 150;
const TROUBLE_MS = 25_000;
/** After the last fault: the longest promise, the longest wait to stand, a round, and slow answers. */
const QUIET_LEASES = 4;

export class Simulation implements World {
  now = 0;
  readonly random: Random;
  readonly rules: Rules;
  readonly faults: Faults;
  slowDisks: boolean;
  readonly leasesDiffer: boolean;
  readonly nodes: SimNode[] = [];
  elections = 0;
  changes = 0;
  readonly agenda = new Agenda<Step>();
  readonly network: Network;
  readonly promises: Promises;
  private readonly trouble: Trouble;
  private readonly trace: ((line: string) => void) | undefined;
  troubled = true;

  constructor({ seed, rules = {}, faults = {}, trace }: Scenario) {
    this.random = new Random(seed);
    this.rules = { ...allRules, ...rules };
    this.faults = faults;
    this.slowDisks = this.random.chance(0.3);
    this.leasesDiffer = this.random.chance(0.3);
    this.network = new Network(this.random, this.agenda, () => this.now, TROUBLE_MS + 1);
    this.promises = new Promises(this.nodes, faults);
    this.trouble = new Trouble(this);
    this.trace = trace;
  }

  /** Runs the whole schedule. Throws Violation. */
  run(): void {
    this.found();
    for (let at = 500; at < TROUBLE_MS; at += this.random.between(100, 2500))
      this.agenda.put(at, () => this.trouble.befall());
    this.runUntil(TROUBLE_MS);
    this.mend();
    this.runUntil(TROUBLE_MS + QUIET_LEASES * Math.max(...this.nodes.map(({ lease }) => lease)));
    this.promises.checkEnd();
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
      this.promises.check(this.now);
    }
  }

  private tick(node: SimNode): void {
    node.wake();
    if (this.now >= node.awayUntil) {
      node.look();
      node.act((process) => process.tick());
      if (this.random.chance(0.3)) node.mirrorNow();
      if (node.process) this.maybeJoin(node);
    }
    this.agenda.put(this.now + TICK, () => this.tick(node));
  }

  // --- the network -----------------------------------------------------------------------------------------

  send(from: SimNode, to: string, request: Request, delay: number): void {
    const { network } = this;
    const target = this.node(to);
    const { process } = from;
    if (!target || !process) return;
    const carried = network.bare() && request.kind === 'renew' ? { ...request, list: undefined } : request;
    network.carry(from, target, delay, () => {
      let answer: Answer | undefined;
      target.act((running) => (answer = running.handle(from.id, carried)));
      if (!answer) return;
      const told = network.bare() ? { ...answer, newer: undefined } : answer;
      network.carry(target, from, target.awayUntil - this.now, () => {
        // Answers find the process that asked, or nobody.
        if (from.process === process) from.act((running) => running.answered(to, request, told));
      });
    });
  }

  ask(coordinator: SimNode, change: Change, then: (list: MemberList) => void): void {
    coordinator.act((process) =>
      process.change(change, (outcome) => {
        if (outcome instanceof SteepError || !coordinator.process) return;
        this.changes += 1;
        this.note(`${coordinator.id} did ${change.kind} ${change.node_id}: ${nameOf(outcome)}`);
        this.promises.commit(outcome);
        then(outcome);
      }),
    );
  }

  /** A node that is not in the list as this copy asks to be, and takes over what it is told. */
  private maybeJoin(node: SimNode): void {
    if (!this.troubled || !this.random.chance(0.05)) return;
    const coordinator = coordinators(this.nodes).find((one) => one !== node);
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
    this.network.mend();
    this.slowDisks = false;
    for (const node of this.nodes) {
      node.healthy = true;
      node.crashAt = undefined;
      node.awayUntil = Math.min(node.awayUntil, this.now);
      node.wake();
      if (!node.process) node.start();
    }
  }

  wrote(before: MemberList, list: MemberList): void {
    this.promises.wrote(before, list);
  }

  told(node: SimNode, event: ElectionEvent): void {
    if (!node.process) return;
    this.note(`${node.id} ${JSON.stringify(event)} ${nameOf(node.disk.list)}`);
    if (event.kind === 'standing' && this.troubled && this.random.chance(0.05)) this.trouble.rewindSoon(node);
    if (event.kind !== 'elected') return;
    this.elections += 1;
  }

  node(id: string): SimNode | undefined {
    return this.nodes.find((one) => one.id === id);
  }

  note(line: string): void {
    this.trace?.(`${(this.now / 1000).toFixed(3).padStart(8)}  ${line}`);
  }
}
