/** What befalls the nodes of a simulation: crashes, cuts, sleep, lost disks, and an operator. */
import { type Change, find, type MemberList, voters } from '../../src/cluster/list.ts';
import { SteepError } from '../../src/lib/errors.ts';
import type { Agenda } from './heap.ts';
import type { Network, Step } from './network.ts';
import { CLUSTER, type SimNode } from './node.ts';
import { coordinators, newest, type Promises } from './promises.ts';
import type { Random } from './random.ts';

export interface Troubled {
  readonly now: number;
  readonly random: Random;
  readonly nodes: readonly SimNode[];
  readonly agenda: Agenda<Step>;
  readonly network: Network;
  readonly promises: Promises;
  node(id: string): SimNode | undefined;
  ask(coordinator: SimNode, change: Change, then: (list: MemberList) => void): void;
  note(line: string): void;
  /** Until everything is mended. */
  readonly troubled: boolean;
}

export class Trouble {
  private readonly world: Troubled;
  private readonly random: Random;

  constructor(world: Troubled) {
    this.world = world;
    this.random = world.random;
  }

  befall(): void {
    const { random } = this;
    const { nodes, network } = this.world;
    const node = random.of(nodes);
    const kinds: Step[] = [
      () => this.crash(node),
      () => this.crash(node),
      () => this.partition(),
      () => this.partition(),
      () => this.isolate(node),
      () => this.cutPair(),
      () => this.cutPair(),
      () => this.rivals(),
      () => network.cut.clear(),
      () => network.cut.clear(),
      () => this.blink(node),
      () => this.blink(node),
      () => (node.awayUntil = Math.max(node.awayUntil, this.world.now + random.between(100, 9000))),
      () => node.sleepUntil(this.world.now + random.between(100, 20_000)),
      () => node.jumpWall(random.between(-20_000, 20_000)),
      () => (node.healthy = false),
      () => (node.healthy = true),
      () => (network.loss = random.chance(0.5) ? 0 : random.between(0, 0.4)),
      () => (network.jitter = random.chance(0.5) ? 5 : random.between(5, 1500)),
      () => this.operate(),
      () => this.operate(),
      () => this.operate(),
      () => this.usurp(node),
      () => coordinators(this.world.nodes).forEach((one) => this.crash(one)),
      () => coordinators(this.world.nodes).forEach((one) => this.isolate(one)),
      () =>
        coordinators(this.world.nodes).forEach((one) =>
          one.act((process) => process.resign('it was told to')),
        ),
      () => coordinators(this.world.nodes).forEach((one) => this.handOver(one, node)),
      () => this.loseDisk(node),
      () => this.restoreDisk(node),
      () => this.restoreDisk(node),
      () => this.restoreDisk(node),
    ];
    random.of(kinds)();
  }

  private handOver(coordinator: SimNode, to: SimNode): void {
    this.world.note(`${coordinator.id} is to hand over to ${to.id}`);
    try {
      this.world.network.overtaken(() => coordinator.act((process) => process.transfer(to.id)));
    } catch (error) {
      if (!(error instanceof SteepError)) throw error; // it cannot take over
    }
  }

  private crash(node: SimNode): void {
    this.world.note(`${node.id} crashes`);
    if (this.random.chance(0.5)) node.stop();
    else node.crashAt = this.random.chance(0.5) ? 'before' : 'after';
    this.world.agenda.put(this.world.now + this.random.between(50, 9000), () => {
      if (node.process || this.world.now < node.awayUntil) return;
      this.world.note(`${node.id} starts`);
      node.start();
    });
  }

  /** A process that is back at once: what others hold against it has not run out yet. */
  private blink(node: SimNode): void {
    if (!this.world.troubled || this.world.now < node.awayUntil) return;
    this.world.note(`${node.id} blinks`);
    node.stop();
    this.world.agenda.put(this.world.now + this.random.between(10, 300), () => {
      if (!node.process) node.start();
    });
  }

  /** Two that do not hear each other, while all others hear both. */
  private cutPair(): void {
    const { network } = this.world;
    const [coordinator] = coordinators(this.world.nodes);
    const a = coordinator && this.random.chance(0.7) ? coordinator : this.random.of(this.world.nodes);
    const b = this.random.of(this.world.nodes);
    this.world.note(`cut: ${a.id} and ${b.id}`);
    network.cut.add(`${a.id}>${b.id}`);
    network.cut.add(`${b.id}>${a.id}`);
    // Somebody whom both hear forgets, just when one of them asks again and again for its vote.
    const between = this.random.of(this.world.nodes);
    for (let times = this.random.below(4); times > 0; times -= 1)
      this.world.agenda.put(this.world.now + this.random.between(2500, 7000), () => this.blink(between));
  }

  /** The coordinator dies, and two that do not hear each other want to follow it while every word takes long. */
  private rivals(): void {
    const { network, nodes } = this.world;
    const [coordinator] = coordinators(nodes);
    const [one, other] = nodes.filter((node) => node !== coordinator && node.role === 'node');
    if (!coordinator || !one || !other) return;
    this.world.note(`cut: ${one.id} and ${other.id}, who may both follow ${coordinator.id}`);
    network.cut.add(`${one.id}>${other.id}`);
    network.cut.add(`${other.id}>${one.id}`);
    network.jitter = this.random.between(5, 1500);
    this.crash(coordinator);
  }

  private partition(): void {
    const { network } = this.world;
    const side = new Set(this.world.nodes.filter(() => this.random.chance(0.5)).map(({ id }) => id));
    const oneWay = this.random.chance(0.3);
    network.cut.clear();
    for (const a of this.world.nodes)
      for (const b of this.world.nodes)
        if (side.has(a.id) && !side.has(b.id)) {
          network.cut.add(`${a.id}>${b.id}`);
          if (!oneWay) network.cut.add(`${b.id}>${a.id}`);
        }
    this.world.note(`cut${oneWay ? ' one way' : ''}: ${[...side].join(' ')} | the others`);
  }

  private isolate(node: SimNode): void {
    const { network } = this.world;
    this.world.note(`cut: ${node.id}`);
    for (const other of this.world.nodes) {
      network.cut.add(`${node.id}>${other.id}`);
      if (this.random.chance(0.7)) network.cut.add(`${other.id}>${node.id}`);
    }
  }

  /** A disk is lost: the node is a new copy. Never so many that no majority could ever be had again. */
  private loseDisk(node: SimNode): void {
    if (!this.maySpare(node)) return;
    this.world.note(`${node.id} loses its disk`);
    node.stop();
    node.disk = node.blank();
    node.mirror = undefined;
    node.backups.length = 0;
    node.start();
  }

  private restoreDisk(node: SimNode): void {
    const backup = node.backups.find(({ serial }) => serial < (node.mirror?.serial ?? 0));
    if (!backup || !this.maySpare(node)) return;
    this.world.note(`${node.id} starts with an old copy of its disk`);
    node.restore(backup);
  }

  /** The disk of somebody who may just have voted comes back without its last write, or without its last few. */
  rewindSoon(candidate: SimNode): void {
    const node = this.random.of(this.world.nodes);
    if (node === candidate) return;
    this.world.agenda.put(this.world.now + this.random.between(1, 300), () => {
      const lost = this.random.of([1, 1, 2, 4]);
      const earlier = node.writes.at(-lost);
      // Only what its PostgreSQL knows of can be found out.
      const wellKnown = node.healthy && node.trusted && node.process;
      if (!this.world.troubled || !earlier || !wellKnown || !this.maySpare(node)) return;
      this.world.note(`${node.id} starts without its last ${lost} writes`);
      node.mirrorNow();
      node.restore(earlier);
    });
  }

  private maySpare(node: SimNode): boolean {
    const list = newest(this.world.nodes);
    const alive = voters(list).filter(
      ({ node_id, instance_id }) =>
        node_id !== node.id && this.world.node(node_id)?.disk.instance_id === instance_id,
    );
    const standing = alive.some(({ role, state }) => role === 'node' && state === 'member');
    return alive.length >= Math.floor(voters(list).length / 2) + 1 && standing && this.random.chance(0.5);
  }

  /** Somebody who has a certificate but does not belong brings a list in which nobody else does. */
  private usurp(node: SimNode): void {
    const { list, term, instance_id } = node.disk;
    const own = find(list, node.id);
    if (own?.state === 'removed' || own?.instance_id !== instance_id) return; // it believes anybody
    const gone = list.nodes.filter(({ state, instance_id: copy }) => state === 'removed' && copy === '');
    const from = this.random.of(['stranger', ...gone.map(({ node_id }) => node_id)]);
    this.world.note(`${from} wants to be followed by ${node.id}`);
    const version = { term: term + 9, number: 1 };
    const usurper = { node_id: from, instance_id: 'x', role: 'node', state: 'member', vote: 'yes' } as const;
    node.act((process) => {
      const { granted } = process.handle(from, {
        kind: 'renew',
        cluster_id: CLUSTER,
        term: version.term,
        instance_id: usurper.instance_id,
        lease: node.lease,
        version,
        list: { ...version, nodes: [usurper] },
        since: this.world.now,
      });
      if (granted) this.world.promises.blame(`${node.id} follows ${from}, who does not belong`);
    });
  }

  private operate(): void {
    const [coordinator] = coordinators(this.world.nodes);
    if (!coordinator) return;
    const node = this.random.of(this.world.nodes);
    const kind = this.random.of(['remove', 'readmit', 'offline', 'online', 'online'] as const);
    if (kind === 'remove' && node === coordinator) return;
    if (kind === 'offline' && !this.maySpare(node)) return;
    const done = this.world.promises.wished(node.id, kind);
    this.world.ask(coordinator, { kind, node_id: node.id }, done);
  }
}
