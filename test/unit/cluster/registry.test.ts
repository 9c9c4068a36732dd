import { describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import type { Member } from '../../../src/cluster/member.ts';
import { Registry } from '../../../src/cluster/registry.ts';

const NODES = ['node-a', 'node-b', 'node-c'] as const;
const RUNS = Number(process.env['FC_RUNS'] ?? 300);
const SEED = Number(process.env['FC_SEED'] ?? Date.now() % 2 ** 31);
console.log(`registry: fast-check seed ${SEED}, ${RUNS} runs (FC_SEED, FC_RUNS repeat them)`);

function factsOf(id: string, changes: Partial<Member> = {}): Member {
  return {
    node_id: id,
    node_name: id,
    host: `${id}.example`,
    port: 5432,
    priority: 50,
    grpc_host: `${id}.example`,
    grpc_port: 5433,
    role: 'node',
    instance_id: `instance of ${id}`,
    revision: 1,
    ...changes,
  };
}

/** What is the same everywhere once everybody has heard everything. */
function shared(registry: Registry): Member[] {
  return registry.all().toSorted((a, b) => (a.node_id < b.node_id ? -1 : 1));
}

/** One thing that happens in a cluster of three. */
type Step =
  | { kind: 'facts'; node: number; priority: number }
  /** A node tells another its rows, as they are or as they were: late, twice, out of order, or only some. */
  | { kind: 'tell'; from: number; to: number; age: number; rows: number[] };

const index = fc.nat({ max: NODES.length - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('facts' as const), node: index, priority: fc.integer({ min: 1, max: 9 }) }),
  fc.record({
    kind: fc.constant('tell' as const),
    from: index,
    to: index,
    age: fc.nat({ max: 5 }),
    rows: fc.array(index, { maxLength: 4 }),
  }),
);

/** Three nodes, and what each of them ever had to tell. */
class World {
  readonly nodes: Registry[] = NODES.map((id) => new Registry(factsOf(id), []));
  private readonly past: Member[][][] = this.nodes.map((registry) => [registry.all()]);

  run(one: Step): void {
    if (one.kind === 'facts') this.restart(one.node, one.priority);
    else {
      const told = this.past[one.from]!.at(-1 - one.age) ?? this.past[one.from]![0]!;
      for (const row of one.rows) if (told[row]) this.at(one.to).merge(told[row]);
    }
    this.nodes.forEach((registry, i) => this.past[i]!.push(registry.all()));
  }

  /** With another configuration, and what it had stored. */
  private restart(node: number, priority: number): void {
    this.nodes[node] = new Registry(factsOf(NODES[node]!, { priority }), this.at(node).all());
  }

  at(node: number): Registry {
    return this.nodes[node]!;
  }

  /** Everybody tells everybody, until nobody learns anything. */
  settle(): number {
    for (let round = 1; round <= 20; round++) {
      const before = this.nodes.map(({ version }) => version).join();
      for (const from of this.nodes) for (const to of this.nodes) for (const row of from.all()) to.merge(row);
      if (this.nodes.map(({ version }) => version).join() === before) return round;
    }
    throw new Error('they never agree');
  }
}

describe('the registry', () => {
  test('comes to the same state everywhere, whatever was lost, repeated or reordered on the way', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const world = new World();
        for (const one of steps) world.run(one);
        world.settle();
        expect(shared(world.at(1))).toEqual(shared(world.at(0)));
        expect(shared(world.at(2))).toEqual(shared(world.at(0)));
      }),
      { seed: SEED, numRuns: RUNS, verbose: true },
    );
  });

  test('ends with each node’s own facts as the node itself last told them', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const world = new World();
        for (const one of steps) world.run(one);
        const wanted = world.nodes.map(({ self }) => self.priority);
        world.settle();
        NODES.forEach((id, i) =>
          expect(world.nodes.map((one) => one.find(id)?.priority)).toEqual(NODES.map(() => wanted[i])),
        );
      }),
      { seed: SEED, numRuns: RUNS, verbose: true },
    );
  });

  test('takes rows in any order, also those that two registrations made alike', () => {
    const row = fc.record({
      revision: fc.nat({ max: 2 }),
      priority: fc.integer({ min: 1, max: 3 }),
    });
    const rows = fc
      .array(row, { maxLength: 8 })
      .chain((told) => fc.tuple(fc.constant(told), fc.shuffledSubarray(told, { minLength: told.length })));
    fc.assert(
      fc.property(rows, ([told, shuffled]) => {
        const states = [told, shuffled, [...shuffled, ...told]].map((order) => {
          const registry = new Registry(factsOf('node-a'), []);
          for (const one of order) registry.merge(factsOf('node-b', one));
          return registry.find('node-b');
        });
        expect(states[1]).toEqual(states[0]);
        expect(states[2]).toEqual(states[0]);
      }),
      { seed: SEED, numRuns: RUNS, verbose: true },
    );
  });

  test('goes above a higher revision of the own row, and keeps the own facts', () => {
    const registry = new Registry(factsOf('node-a'), []);
    expect(registry.merge(factsOf('node-a', { revision: 7, priority: 99 }))).toBe(true);
    expect(registry.self).toMatchObject({ revision: 8, priority: 50 });
    expect(registry.merge(factsOf('node-a', { revision: 8 }))).toBe(false);
  });

  test('counts a revision up at a start only when the configuration says something new', () => {
    const stored = [factsOf('node-a', { revision: 4 })];
    expect(new Registry(factsOf('node-a'), stored).self.revision).toBe(4);
    expect(new Registry(factsOf('node-a', { priority: 51 }), stored).self.revision).toBe(5);
  });

  test('tells what changed after a version, and nothing that did not', () => {
    const registry = new Registry(factsOf('node-a'), [factsOf('node-b')]);
    const { version } = registry;
    registry.merge(factsOf('node-b'));
    expect(registry.changedSince(version)).toEqual([]);
    registry.merge(factsOf('node-c'));
    registry.merge(factsOf('node-b', { revision: 2 }));
    expect(
      registry
        .changedSince(version)
        .map(({ node_id }) => node_id)
        .toSorted(),
    ).toEqual(['node-b', 'node-c']);
  });
});
