import { describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import {
  belonging,
  type Change,
  changed,
  compare,
  find,
  foundersList,
  type Listed,
  type MemberList,
  NO_LIST,
  voters,
} from '../../../src/cluster/list.ts';
import { SteepError } from '../../../src/lib/errors.ts';

const RUNS = Number(process.env['FC_RUNS'] ?? 300);
const SEED = Number(process.env['FC_SEED'] ?? Date.now() % 2 ** 31);
console.log(`list: fast-check seed ${SEED}, ${RUNS} runs (FC_SEED, FC_RUNS repeat them)`);

const FOUNDER = foundersList({ node_id: 'a', instance_id: 'a/1', role: 'node' });

function admit(id: string, changes: Partial<Change & { kind: 'admit' }> = {}): Change {
  return { kind: 'admit', node_id: id, instance_id: `${id}/1`, role: 'node', votes: true, ...changes };
}

type Kind = Exclude<Change['kind'], 'admit'>;
const to = (kind: Kind, node_id: string): Change => ({ kind, node_id });

/** The list after changes; what changes nothing makes no new one. Throws what `changed` throws. */
function after(list: MemberList, ...changes: Change[]): MemberList {
  return changes.reduce((before, change) => {
    const nodes = changed(before, change);
    return nodes ? { term: before.term, number: before.number + 1, nodes } : before;
  }, list);
}

function row(list: MemberList, id: string): Listed {
  return find(list, id) ?? expect.unreachable(`${id} is not listed`);
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SteepError) return error.code;
    throw error;
  }
  return 'nothing thrown';
}

const PAIR = after(FOUNDER, admit('b'), to('enfranchise', 'b'));

describe('a list', () => {
  test('is newer by the term of its coordinator first, then by its number', () => {
    const [old, more, next] = [
      { term: 1, number: 9 },
      { term: 1, number: 10 },
      { term: 2, number: 3 },
    ];
    expect([next, more, old, NO_LIST].toSorted(compare)).toEqual([NO_LIST, old, more, next]);
    expect(compare(old, { ...old })).toBe(0);
  });

  test('of a founder has the founder alone, who votes', () => {
    expect(FOUNDER).toMatchObject({ term: 0, number: 1 });
    expect(voters(FOUNDER)).toEqual([
      { node_id: 'a', instance_id: 'a/1', role: 'node', state: 'member', vote: 'yes' },
    ]);
  });
});

describe('who is admitted', () => {
  test('votes as soon as it has the list, not at once', () => {
    const admitted = after(FOUNDER, admit('b'));
    expect(row(admitted, 'b')).toMatchObject({ state: 'member', vote: 'soon' });
    expect(voters(admitted)).toHaveLength(1);
    expect(row(after(admitted, to('enfranchise', 'b')), 'b').vote).toBe('yes');
  });

  test.each([
    ['a node that shall not vote', { votes: false }],
    ['a peer that speaks only Coordinator', { role: '' as const, instance_id: '' }],
  ])('never votes: %s', (_what, changes) => {
    const list = after(FOUNDER, admit('b', changes), to('enfranchise', 'b'));
    expect(row(list, 'b').vote).toBe('never');
  });

  test('twice as the same copy is in the list once', () => {
    expect(changed(PAIR, admit('b'))).toBeUndefined();
  });

  test('as another copy of a voter loses the vote, until it is readmitted', () => {
    const another = after(PAIR, admit('b', { instance_id: 'b/2' }));
    expect(row(another, 'b')).toMatchObject({ instance_id: 'b/2', vote: 'suspended' });
    expect(changed(another, to('enfranchise', 'b'))).toBeUndefined();
    const back = after(another, to('readmit', 'b'));
    expect(row(back, 'b')).toMatchObject({ instance_id: 'b/2', vote: 'soon' });
  });

  test('as another copy of one that never voted still never does', () => {
    const never = after(FOUNDER, admit('b', { votes: false }), admit('b', { instance_id: 'b/2' }));
    expect(row(never, 'b')).toMatchObject({ instance_id: 'b/2', vote: 'never' });
  });
});

describe('who is removed', () => {
  const without = after(PAIR, to('remove', 'b'));

  test('is remembered, belongs no more, and does not vote', () => {
    expect(row(without, 'b')).toMatchObject({ state: 'removed', vote: 'suspended' });
    expect(belonging(without).map(({ node_id }) => node_id)).toEqual(['a']);
    expect(voters(without)).toHaveLength(1);
  });

  test('cannot be admitted, as whatever copy', () => {
    for (const change of [admit('b'), admit('b', { instance_id: 'b/2' })])
      expect(codeOf(() => changed(without, change))).toBe('PERMISSION_DENIED');
  });

  test.each(['remove', 'offline', 'online', 'enfranchise'] as const)('is not there for: %s', (kind) => {
    expect(codeOf(() => changed(without, to(kind, 'b')))).toBe('NODE_NOT_FOUND');
    expect(codeOf(() => changed(without, to(kind, 'nobody')))).toBe('NODE_NOT_FOUND');
  });

  test('comes back in two steps: readmitted by an operator, then let in as whatever copy it is now', () => {
    const readmitted = after(without, to('readmit', 'b'));
    expect(row(readmitted, 'b')).toMatchObject({ instance_id: '', state: 'member', vote: 'soon' });
    expect(changed(readmitted, to('enfranchise', 'b'))).toBeUndefined();
    const back = after(readmitted, admit('b', { instance_id: 'b/2' }), to('enfranchise', 'b'));
    expect(row(back, 'b')).toMatchObject({ instance_id: 'b/2', vote: 'yes' });
  });

  test('and never voted comes back without a vote', () => {
    const peer = after(FOUNDER, admit('b', { votes: false }), to('remove', 'b'), to('readmit', 'b'));
    expect(row(peer, 'b').vote).toBe('never');
  });
});

describe('an operator', () => {
  test('puts a node offline and online, and it votes all the time', () => {
    const offline = after(PAIR, to('offline', 'b'));
    expect(row(offline, 'b')).toMatchObject({ state: 'offline', vote: 'yes' });
    expect(changed(offline, to('offline', 'b'))).toBeUndefined();
    expect(row(after(offline, to('online', 'b')), 'b').state).toBe('member');
    expect(changed(PAIR, to('online', 'b'))).toBeUndefined();
  });

  test('readmits nobody who belongs and may vote', () => {
    expect(codeOf(() => changed(PAIR, to('readmit', 'b')))).toBe('CONFLICT');
  });

  test('who put a node offline finds it offline when its lost vote is given back', () => {
    const lost = after(PAIR, to('offline', 'b'), admit('b', { instance_id: 'b/2' }));
    expect(row(after(lost, to('readmit', 'b')), 'b')).toMatchObject({ state: 'offline', vote: 'soon' });
  });
});

describe('any changes in any order', () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd');
  const change: fc.Arbitrary<Change> = fc.oneof(
    fc
      .tuple(id, fc.nat({ max: 2 }), fc.constantFrom('node', 'witness', '' as const), fc.boolean())
      .map(([one, copy, role, votes]) =>
        admit(one, { role, votes, instance_id: role === '' ? '' : `${one}/${copy}` }),
      ),
    fc
      .tuple(
        fc.constantFrom<Kind>('enfranchise', 'enfranchise', 'remove', 'seal', 'readmit', 'offline', 'online'),
        id,
      )
      .map(([kind, one]) => to(kind, one)),
  );
  const changes = fc.array(change, { maxLength: 40 });

  /** Each step that changed something, with what was before it. */
  function steps(those: readonly Change[]): { change: Change; before: MemberList; list: MemberList }[] {
    let list = FOUNDER;
    return those.flatMap((one) => {
      const before = list;
      try {
        list = after(before, one);
      } catch (error) {
        if (!(error instanceof SteepError)) throw error;
      }
      return list === before ? [] : [{ change: one, before, list }];
    });
  }

  function always(holds: (step: ReturnType<typeof steps>[number]) => void): void {
    fc.assert(
      fc.property(changes, (those) => steps(those).forEach(holds)),
      { seed: SEED, numRuns: RUNS, verbose: true },
    );
  }

  test('add or take one voter at most, so that majorities before and after share somebody', () => {
    always(({ before, list }) => {
      const [old, fresh] = [before, list].map((one) =>
        voters(one).map(({ node_id, instance_id }) => `${node_id} ${instance_id}`),
      ) as [string[], string[]];
      const different = [
        ...old.filter((one) => !fresh.includes(one)),
        ...fresh.filter((one) => !old.includes(one)),
      ];
      expect(different.length).toBeLessThanOrEqual(1);
    });
  });

  test('touch one node, forget none, and never make a voter of a copy that has not registered', () => {
    always(({ change: { node_id }, before, list }) => {
      for (const one of before.nodes)
        if (one.node_id !== node_id) expect(find(list, one.node_id)).toEqual(one);
      expect(list.nodes.length - before.nodes.length).toBe(find(before, node_id) ? 0 : 1);
      for (const { instance_id, state } of voters(list)) {
        expect(instance_id).not.toBe('');
        expect(state).not.toBe('removed');
      }
    });
  });

  test('bring nobody back that was removed, nor online that was offline, unless they say so', () => {
    always(({ change: { kind, node_id }, before, list }) => {
      const [was, is] = [find(before, node_id)?.state, row(list, node_id).state];
      if (was === 'removed' && kind !== 'seal') expect(kind).toBe('readmit');
      if (kind === 'seal') expect([was, is]).toEqual(['removed', 'removed']);
      if (was === 'offline' && is === 'member') expect(kind).toBe('online');
    });
  });
});
