import { beforeEach, describe, expect, test } from 'bun:test';
import { SteepError } from '../../../src/lib/errors.ts';
import { FakeEtcd, FakeNode, listOf } from './fake-etcd.ts';

let etcd: FakeEtcd;
let a: FakeNode;
let b: FakeNode;
beforeEach(() => {
  etcd = new FakeEtcd();
  const list = listOf('a', 'b');
  a = new FakeNode(etcd, 'a', list);
  b = new FakeNode(etcd, 'b', list, 1);
});

/** Time passes, and both ask etcd as often as they would. */
async function pass(ms: number, ...nodes: FakeNode[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    etcd.now += 100;
    for (const node of nodes) await node.round();
  }
}

async function codeOf(action: Promise<unknown>): Promise<string> {
  return await action.then(
    () => 'done',
    (error: unknown) => SteepError.from(error).code,
  );
}

describe('an election by etcd', () => {
  test('is won by the better node, in the term that etcd numbers, and the other one follows', async () => {
    await pass(1000, b, a);
    expect(a.election.coordinator).toMatchObject({ node_id: 'a', term: etcd.coordinator!.term });
    expect(b.election.coordinator).toEqual(a.election.coordinator);
    expect(b.state.current.term).toBe(etcd.coordinator!.term);
    expect(etcd.members?.list).toEqual(listOf('a', 'b'));
  });

  test('is won by another one when the coordinator falls silent, in a higher term', async () => {
    await pass(1000, a, b);
    const before = etcd.coordinator!.term;
    await pass(5000, b);
    expect(b.election.coordinator).toMatchObject({ node_id: 'b' });
    expect(etcd.coordinator!.term).toBeGreaterThan(before);
    expect(a.election.coordinator).toBeUndefined();
    await pass(1000, a, b);
    expect(a.election.coordinator).toMatchObject({ node_id: 'b' });
    expect(a.events).toContainEqual({ kind: 'ended', term: before, reason: 'its lease ran out' });
  });

  test.each(['monotonic', 'wall'] as const)(
    'ends a lease as soon as the %s clock alone went that far',
    async (clock) => {
      await pass(1000, a);
      a.clocks[clock] += 2650;
      expect(a.election.coordinator).toMatchObject({ node_id: 'a' });
      a.clocks[clock] += 100;
      expect(a.election.coordinator).toBeUndefined();
      expect(await codeOf(a.election.change({ kind: 'offline', node_id: 'b' }))).toBe('NOT_CONNECTED');
    },
  );

  test('counts the lease from the question, not from the answer', async () => {
    await pass(1000, a);
    etcd.delay = async () => {
      etcd.now += 1300;
    };
    await a.round();
    etcd.delay = async () => {};
    etcd.now += 50;
    expect(a.election.coordinator).toMatchObject({ node_id: 'a' });
    etcd.now += 100;
    expect(a.election.coordinator).toBeUndefined();
  });

  test('does not count a renewal by a member of etcd that may lead no more', async () => {
    await pass(1000, a);
    etcd.certain = false;
    await pass(2600, a);
    expect(a.election.coordinator).toMatchObject({ node_id: 'a' });
    await pass(200, a);
    expect(a.election.coordinator).toBeUndefined();
  });

  test('goes on in the same term when etcd was away, and nobody else can have come between', async () => {
    await pass(1000, a, b);
    const { term } = etcd.coordinator!;
    etcd.down = true;
    await pass(2800, a, b);
    expect(a.election.coordinator).toBeUndefined();
    etcd.down = false;
    await pass(100, a, b);
    expect(a.election.coordinator).toMatchObject({ node_id: 'a', term });
    expect(b.election.coordinator).toMatchObject({ node_id: 'a', term });
  });

  test('shows no coordinator that etcd has not confirmed for the length of a lease', async () => {
    await pass(1000, a, b);
    etcd.down = true;
    await pass(2900, b);
    expect(b.election.coordinator).toMatchObject({ node_id: 'a' });
    await pass(200, b);
    expect(b.election.coordinator).toBeUndefined();
    expect(b.told).toBe('lost');
  });

  test('leaves nothing behind when the answer to a claim was lost', async () => {
    const { claim } = etcd;
    let lost = 0;
    etcd.claim = async (...args) => {
      await claim(...args);
      lost += 1;
      if (lost === 1) throw new SteepError('CANNOT_CONNECT', 'the answer was lost');
      return undefined;
    };
    await pass(300, a);
    expect(lost).toBeGreaterThan(0);
    expect(a.election.coordinator).toBeUndefined();
    expect(etcd.coordinator).toBeUndefined();
    etcd.claim = claim;
    await pass(1000, a);
    expect(a.election.coordinator).toMatchObject({ node_id: 'a', term: etcd.coordinator!.term });
  });

  test('is stood for by nobody without PostgreSQL, trust, a vote or a place in the list', async () => {
    const strangers = [
      new FakeNode(etcd, 'x', listOf('a', 'b')),
      new FakeNode(etcd, 'w', withFirst({ role: 'witness' }, 'w')),
      new FakeNode(etcd, 'o', withFirst({ state: 'offline' }, 'o')),
      new FakeNode(etcd, 's', withFirst({ vote: 'suspended' }, 's')),
      new FakeNode(etcd, 'i', withFirst({ instance_id: 'another copy' }, 'i')),
    ];
    a.standing.healthy = false;
    await pass(3000, a, ...strangers);
    expect(etcd.coordinator).toBeUndefined();
    a.standing.healthy = true;
    await pass(1000, a, ...strangers);
    expect(etcd.coordinator?.node_id).toBe('a');
  });

  test('is not trusted where etcd knows less than the node, as after the restore of a backup', async () => {
    await pass(1000, a, b);
    await a.election.change({ kind: 'offline', node_id: 'b' });
    await pass(1000, a, b);
    const empty = new FakeEtcd();
    const c = new FakeNode(empty, 'b', b.state.current.list);
    c.state.update({ term: b.state.current.term });
    empty.revision = 1;
    await c.round();
    expect(c.election.distrust?.message).toContain('its revision is 1, the last term was 101');
    empty.revision = 5000;
    empty.members = { list: listOf('a', 'b'), revision: 4000 };
    await c.round();
    expect(c.election.distrust?.message).toContain('its member list is older');
    expect(c.state.current.list).toEqual(b.state.current.list);
    empty.members = undefined;
    await c.round();
    expect(c.election.distrust).toBeUndefined();
  });
});

describe('a coordinator by etcd', () => {
  beforeEach(() => pass(1000, a, b));

  test('resigns when its PostgreSQL is away for the length of the lease, not for a moment', async () => {
    a.standing.healthy = false;
    await pass(2900, a);
    expect(a.election.coordinator).toMatchObject({ node_id: 'a' });
    await pass(200, a);
    expect(a.events.at(-1)).toMatchObject({ kind: 'ended', reason: 'its PostgreSQL is away' });
    expect(etcd.coordinator).toBeUndefined();
    await pass(500, b);
    expect(etcd.coordinator?.node_id).toBe('b');
  });

  test('resigns when it is put offline, and the list says so to all', async () => {
    await a.election.change({ kind: 'offline', node_id: 'a' });
    await pass(1000, a, b);
    expect(a.events).toContainEqual(expect.objectContaining({ kind: 'ended', reason: 'it is offline' }));
    expect(etcd.coordinator?.node_id).toBe('b');
    expect(b.state.current.list.nodes[0]).toMatchObject({ node_id: 'a', state: 'offline' });
  });

  test('hands over to the one that is named; a better one waits', async () => {
    const c = new FakeNode(etcd, 'c', listOf('a', 'b', 'c'), 2);
    etcd.members = { list: { ...listOf('a', 'b', 'c'), number: 2 }, revision: ++etcd.revision };
    await pass(1000, a, b, c);
    await a.election.transfer('c');
    expect(a.election.coordinator).toBeUndefined();
    await pass(100, b, c, a);
    expect(etcd.coordinator?.node_id).toBe('c');
    expect(etcd.successor).toBeUndefined();
  });

  test('is followed by another one if the named one does not come', async () => {
    await a.election.transfer('nobody');
    await pass(900, b);
    expect(etcd.coordinator).toBeUndefined();
    await pass(600, b);
    expect(etcd.coordinator?.node_id).toBe('b');
  });

  test('lets a node in that votes at once, and numbers its lists', async () => {
    const admit = { kind: 'admit', node_id: 'c', instance_id: 'c1', role: 'node', votes: true } as const;
    const list = await a.election.change(admit);
    expect(list).toMatchObject({ term: etcd.coordinator!.term, number: 2 });
    expect(list.nodes.at(-1)).toMatchObject({ node_id: 'c', vote: 'yes' });
    expect(etcd.members?.list).toEqual(list);
    expect(a.state.current.list).toEqual(list);
  });

  test('makes one change after the other, of which none is lost', async () => {
    const ids = ['c', 'd', 'e', 'f'];
    await Promise.all(
      ids.map((id) =>
        a.election.change({
          kind: 'admit',
          node_id: id,
          instance_id: id,
          role: 'witness',
          votes: true,
        }),
      ),
    );
    expect(etcd.members?.list.nodes.map(({ node_id }) => node_id)).toEqual(['a', 'b', ...ids]);
  });

  test('makes a change once, though the answer to it was lost', async () => {
    etcd.losesAnswer = true;
    expect(await codeOf(a.election.change({ kind: 'offline', node_id: 'b' }))).toBe('CANNOT_CONNECT');
    expect(await codeOf(a.election.change({ kind: 'offline', node_id: 'b' }))).toBe('done');
    expect(etcd.members?.list).toMatchObject({ number: 2 });
    expect(a.state.current.list).toEqual(etcd.members!.list);
  });

  test('writes nothing any more when it slept through the election of another one', async () => {
    // Its clocks stood still with it: only etcd can know.
    a.clocks.monotonic -= 6000;
    a.clocks.wall -= 6000;
    await pass(6000, b);
    expect(etcd.coordinator?.node_id).toBe('b');
    const before = etcd.members;
    expect(a.election.coordinator).toMatchObject({ node_id: 'a' });
    expect(await codeOf(a.election.change({ kind: 'remove', node_id: 'b' }))).toBe('NOT_CONNECTED');
    expect(etcd.members).toEqual(before);
    expect(a.election.coordinator).toBeUndefined();
  });
});

describe('any number of nodes, slow answers, stops and outages', () => {
  test('never have two coordinators at one moment', async () => {
    for (let seed = 1; seed <= 300; seed += 1) expect(await run(seed)).toBe('one at most');
  });
});

/** A schedule by chance: nodes stand still, etcd goes away, answers come late, clocks differ by up to 4 %. */
async function run(seed: number): Promise<string> {
  let chance = seed * 2_654_435_761;
  const random = (): number => {
    chance = (chance * 1_103_515_245 + 12_345) % 2 ** 31;
    return chance / 2 ** 31;
  };
  const world = new FakeEtcd();
  const waiting: (() => void)[] = [];
  world.delay = () => new Promise((resolve) => waiting.push(resolve));
  const ids = ['a', 'b', 'c'];
  const nodes = ids.map((id, rank) => new FakeNode(world, id, listOf(...ids), rank));
  for (const node of nodes) node.clocks.speed = 0.96 + random() * 0.08;
  const asleep = new Map<FakeNode, number>();
  const busy = new Set<FakeNode>();
  let terms = 0;
  for (let step = 0; step < 600; step += 1) {
    world.now += Math.floor(random() * 150);
    if (random() < 0.01) world.down = !world.down;
    if (random() < 0.02) asleep.set(nodes[Math.floor(random() * 3)]!, world.now + random() * 8000);
    for (const node of nodes) {
      if ((asleep.get(node) ?? 0) > world.now || busy.has(node)) continue;
      busy.add(node);
      void node.round().finally(() => busy.delete(node));
    }
    for (let some = Math.ceil(random() * waiting.length); some > 0; some -= 1)
      waiting.splice(Math.floor(random() * waiting.length), 1)[0]?.();
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    const claims = nodes.filter((node, index) => node.election.coordinator?.node_id === ids[index]);
    if (claims.length > 1) return `two at step ${step} of seed ${seed}`;
    terms = Math.max(terms, claims[0]?.election.coordinator?.term ?? 0);
  }
  return terms > 0 ? 'one at most' : `none at all with seed ${seed}`;
}

function withFirst(changes: object, id: string) {
  const list = listOf(id);
  return { ...list, nodes: [{ ...list.nodes[0]!, ...changes }] };
}
