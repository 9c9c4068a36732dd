/** The schedules that the rules of src/cluster/rules.ts stop, each by its name. */
import { describe, expect, test } from 'bun:test';
import { find, type MemberList } from '../../../src/cluster/list.ts';
import type { Request } from '../../../src/cluster/messages.ts';
import { SteepError } from '../../../src/lib/errors.ts';
import { Bed, INTERVAL, LEASE } from './support.ts';

/** Long enough for everything that an election takes. */
const ELECTION = 2 * LEASE + 2000;

function vote(term: number, from: string, changes: Partial<Request & { kind: 'vote' }> = {}): Request {
  return {
    kind: 'vote',
    cluster_id: 'c',
    term,
    instance_id: `${from}/1`,
    trial: false,
    list: { term: 0, number: 1 },
    ...changes,
  };
}

function renewal(term: number, from: string): Request & { kind: 'renew' } {
  return {
    kind: 'renew',
    cluster_id: 'c',
    term,
    instance_id: `${from}/1`,
    lease: LEASE,
    version: { term: 0, number: 1 },
    list: undefined,
    since: 0,
  };
}

function elected(ids: string[], options: ConstructorParameters<typeof Bed>[1] = {}): Bed {
  const bed = new Bed(ids, options);
  bed.pass(ELECTION);
  expect(bed.reigning()).toEqual(['a']);
  return bed;
}

describe('an election', () => {
  test('makes the best node coordinate, and all follow it', () => {
    const bed = elected(['a', 'b', 'c']);
    for (const { election } of bed.nodes)
      expect(election.coordinator).toMatchObject({ node_id: 'a', term: 1 });
  });

  test('does not wait for a node that is missing, and counts the node itself', () => {
    const bed = new Bed(['a', 'b', 'c']);
    bed.isolate('c');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['a']);
  });

  test('is not won by a node without PostgreSQL, nor by a witness, and both vote', () => {
    const bed = new Bed(['a', 'w', 'b'], { witnesses: ['w'] });
    bed.node('a').healthy = false;
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
  });

  test('raises no term where it could not be won', () => {
    const bed = elected(['a', 'b', 'c']);
    bed.isolate('c');
    bed.pass(10 * ELECTION);
    expect(bed.node('c').disk.term).toBe(1);
  });

  test('follows when the coordinator is gone, and it follows when it is back', () => {
    const bed = elected(['a', 'b', 'c']);
    bed.isolate('a');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
    bed.cut.clear();
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
    expect(bed.node('a').election.coordinator).toMatchObject({ node_id: 'b' });
  });

  test('frees a voter that knows a newer term: it is not left out for ever', () => {
    const bed = elected(['a', 'b', 'c']);
    const late = bed.node('c');
    late.disk = { ...late.disk, term: 9 };
    late.restart();
    bed.pass(2 * ELECTION);
    expect(bed.reigning()).toHaveLength(1);
    for (const { election } of bed.nodes) expect(election.coordinator?.term).toBeGreaterThan(9);
  });
});

describe('a voter', () => {
  test('votes for nobody else while its promise runs, and does afterwards', () => {
    const bed = new Bed(['a', 'b', 'c']);
    const voter = bed.node('c');
    expect(voter.election.handle('a', renewal(1, 'a')).granted).toBe(true);
    bed.now += LEASE - 1;
    expect(voter.election.handle('b', vote(2, 'b')).reason).toBe('it follows a');
    bed.now += 1;
    expect(voter.election.handle('b', vote(2, 'b')).granted).toBe(true);
  });

  test('votes once a term, also after a restart', () => {
    const voter = new Bed(['a', 'b', 'c']).node('c');
    expect(voter.election.handle('a', vote(1, 'a')).granted).toBe(true);
    expect(voter.election.handle('a', vote(1, 'a')).granted).toBe(true);
    voter.restart();
    expect(voter.election.handle('b', vote(1, 'b')).reason).toBe('it voted for another node');
    expect(voter.election.handle('b', vote(2, 'b')).granted).toBe(true);
  });

  test('grants nothing after a start for as long as it ever promised', () => {
    const voter = new Bed(['a', 'b', 'c']).node('c');
    voter.election.handle('a', renewal(1, 'a'));
    voter.restart();
    voter.bed.now += LEASE - 1;
    expect(voter.election.handle('b', vote(2, 'b')).reason).toBe('it has just started');
    voter.bed.now += 1;
    expect(voter.election.handle('b', vote(2, 'b')).granted).toBe(true);
  });

  test('grants nothing before it knows that its state is no old copy, and does not stand', () => {
    const bed = new Bed(['a', 'b', 'c']);
    const voter = bed.node('a');
    voter.restart({ trusts: false });
    expect(voter.election.handle('b', vote(1, 'b')).reason).toBe(
      'it does not know yet whether its state is an old copy',
    );
    bed.pass(ELECTION, [voter]);
    expect(voter.disk.term).toBe(0);
    voter.election.trust();
    expect(voter.election.handle('b', vote(1, 'b')).granted).toBe(true);
  });

  test('learns the newer list from another copy of a node that it knows, which counts for nothing else', () => {
    const a = new Bed(['a', 'b', 'c']).node('a');
    // b lost its disk, and was let in again while a was away.
    const newer = { ...a.disk.list, number: 2 };
    a.election.answered('b', vote(1, 'a'), {
      granted: true,
      reason: '',
      term: 9,
      instance_id: 'b/2',
      version: { term: 0, number: 2 },
      newer,
      healthy: true,
    });
    expect(a.disk.list.number).toBe(2);
    expect(a.disk.term).toBe(0);
  });

  test('refuses who has an older list, and tells it the newer one: by the older one the removed would count', () => {
    const asked = (options: ConstructorParameters<typeof Bed>[1]) => {
      const voter = new Bed(['a', 'b', 'c'], options).node('c');
      voter.election.take({ ...voter.disk.list, term: 1, number: 2 });
      return voter.election.handle('a', vote(2, 'a'));
    };
    expect(asked({})).toMatchObject({ granted: false, newer: { number: 2 } });
    expect(asked({ rules: { isOutdated: () => false } }).granted).toBe(true);
  });

  test('is freed by no release of another term, however late it comes', () => {
    const voter = new Bed(['a', 'b', 'c']).node('c');
    voter.election.handle('a', renewal(5, 'a'));
    const release = {
      kind: 'release',
      cluster_id: 'c',
      term: 4,
      instance_id: 'a/1',
      successor: null,
    } as const;
    expect(voter.election.handle('a', release).granted).toBe(false);
    expect(voter.election.handle('b', vote(6, 'b')).granted).toBe(false);
    expect(voter.election.handle('a', { ...release, term: 5 }).granted).toBe(true);
    expect(voter.election.handle('b', vote(6, 'b')).granted).toBe(true);
  });

  test('has not voted when its disk refused to store it', () => {
    const voter = new Bed(['a', 'b', 'c']).node('c');
    voter.diskError = new Error('ENOSPC');
    expect(() => voter.election.handle('a', vote(1, 'a'))).toThrow('ENOSPC');
    voter.diskError = undefined;
    expect(voter.election.handle('b', vote(1, 'b')).granted).toBe(true);
  });

  test('answers no other cluster, no other copy, and nobody who does not belong', () => {
    const voter = new Bed(['a', 'b', 'c']).node('c');
    voter.disk = { ...voter.disk, term: 40 };
    voter.restart();
    // Its own term is none of their business: they would take it for theirs.
    const stranger = voter.election.handle('a', vote(1, 'a', { cluster_id: 'd' }));
    expect(stranger).toMatchObject({ reason: 'another cluster', term: 0 });
    expect(voter.election.handle('a', vote(1, 'a', { instance_id: 'a/2' })).reason).toBe('another copy of a');
    expect(voter.election.handle('x', vote(1, 'x')).reason).toBe('x does not belong');
  });
});

describe('a lease', () => {
  test('ends by itself when nobody renews it', () => {
    const bed = elected(['a', 'b', 'c']);
    bed.isolate('a');
    const a = bed.node('a');
    bed.now += LEASE;
    expect(a.election.reigns).toBe(false);
    expect(a.election.coordinator).toBeUndefined();
  });

  test('does not survive a sleep in which one clock stood still', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    bed.now += 2 * LEASE;
    a.asleep += 2 * LEASE;
    expect(a.election.reigns).toBe(false);
  });

  test('counts from the asking, not from a late answer', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    bed.take();
    bed.now += INTERVAL;
    a.election.tick();
    const asked = bed.take();
    bed.now += LEASE - 500;
    for (const { to, request } of asked)
      a.election.answered(to, request, bed.node(to).election.handle('a', request));
    expect(a.election.reigns).toBe(true);
    bed.now += 300;
    expect(a.election.reigns).toBe(false);
  });

  test('is not kept alive by answers of another copy of a voter', () => {
    // b's disk is lost; a new b answers under the old name, and remembers neither vote nor promise.
    const answers = (rules: ConstructorParameters<typeof Bed>[1]): boolean => {
      const bed = elected(['a', 'b', 'c'], rules);
      bed.isolate('c');
      const b = bed.node('b');
      b.disk = { ...b.disk, instance_id: 'b/2' };
      b.restart();
      bed.pass(2 * LEASE, [bed.node('a')]);
      return bed.node('a').election.reigns;
    };
    expect(answers({})).toBe(false);
    expect(answers({ rules: { speaksFor: () => true } })).toBe(true);
  });
});

describe('a coordinator', () => {
  test('whose PostgreSQL is away for longer than the lease resigns; a shorter outage changes nothing', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    a.healthy = false;
    bed.pass(LEASE - 500);
    a.healthy = true;
    bed.pass(LEASE);
    expect(bed.reigning()).toEqual(['a']);
    a.healthy = false;
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
    expect(a.events).toContainEqual({ kind: 'ended', term: 1, reason: 'its PostgreSQL is away' });
  });

  test('that hands over names who is next, whatever its rank, and nobody has to wait for a lease', () => {
    const bed = elected(['a', 'b', 'c']);
    bed.node('a').election.transfer('c');
    bed.pass(500);
    expect(bed.reigning()).toEqual(['c']);
  });

  test.each([
    ['a witness', 'w', 'it has no PostgreSQL'],
    ['itself', 'a', 'a coordinates already'],
    ['nobody', 'x', "there is no node 'x'"],
  ])('hands over to no %s', (_what, id, why) => {
    const bed = elected(['a', 'b', 'w'], { witnesses: ['w'] });
    expect(() => bed.node('a').election.transfer(id)).toThrow(why);
    expect(bed.reigning()).toEqual(['a']);
  });

  test('changes nothing before a majority has the list in its own term', () => {
    // It has won, and its lease runs by answers of voters that have not got its list yet.
    const begun = (options: ConstructorParameters<typeof Bed>[1]): number => {
      const bed = elected(['a', 'b', 'c'], options);
      const a = bed.node('a');
      a.restart();
      bed.isolate('a');
      bed.pass(LEASE + 500, [a]);
      bed.cut.clear();
      for (const other of ['b', 'c']) bed.node(other).election.resign('no');
      bed.now += LEASE;
      // Answers that promise, but say that another list is stored.
      for (let round = 0; round < 60 && !a.election.reigns; round += 1) {
        bed.now += 50;
        a.election.tick();
        for (const { to, request, from } of bed.take()) {
          if (from !== a) continue;
          const answer = bed.node(to).election.handle('a', request);
          a.election.answered(to, request, { ...answer, version: { term: 0, number: 1 } });
        }
      }
      expect(a.election.reigns).toBe(true);
      const { number } = a.disk.list;
      a.election.change({ kind: 'offline', node_id: 'c' }, () => {});
      return a.disk.list.number - number;
    };
    expect(begun({})).toBe(0);
    expect(begun({ rules: { mayChange: () => true } })).toBe(1);
  });

  test('calls a change done when majorities of both lists have it, and begins the next one then', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    const outcomes: (MemberList | SteepError)[] = [];
    a.election.change({ kind: 'offline', node_id: 'c' }, (outcome) => outcomes.push(outcome));
    a.election.change({ kind: 'online', node_id: 'c' }, (outcome) => outcomes.push(outcome));
    expect(outcomes).toEqual([]);
    expect(a.disk.list.number).toBe(2);
    bed.deliver();
    expect(outcomes.map((one) => (one instanceof SteepError ? one.code : one.number))).toEqual([2, 3]);
    expect(find(bed.node('b').disk.list, 'c')?.state).toBe('member');
  });

  test('removes one of two voters, whose own vote is needed for that, and keeps its lease', () => {
    const bed = elected(['a', 'b']);
    const a = bed.node('a');
    const outcomes: (MemberList | SteepError)[] = [];
    a.election.change({ kind: 'remove', node_id: 'b' }, (outcome) => outcomes.push(outcome));
    bed.deliver();
    expect(outcomes).toMatchObject([{ number: 2 }]);
    expect(find(bed.node('b').disk.list, 'b')?.state).toBe('removed');
    bed.pass(ELECTION, [a]);
    expect(bed.reigning()).toEqual(['a']);
    expect(a.disk.term).toBe(1);
  });

  test('takes nobody away without whom those who answer would be no majority: there would be no way back', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    const outcomes: (MemberList | SteepError)[] = [];
    const ask = (kind: 'remove', node_id: string): void =>
      a.election.change({ kind, node_id }, (outcome) => outcomes.push(outcome));
    bed.isolate('c');
    bed.pass(LEASE);
    ask('remove', 'b');
    expect(outcomes).toMatchObject([
      { code: 'CONFLICT', message: 'without b no majority would answer: c away' },
    ]);
    bed.pass(ELECTION, [a]);
    expect(bed.reigning()).toEqual(['a']);
    ask('remove', 'c');
    bed.deliver();
    expect(outcomes[1]).toMatchObject({ number: 2 });
    ask('remove', 'b');
    bed.deliver();
    expect(outcomes[2]).toMatchObject({ number: 4 }); // 3: that c's removal is done
    bed.pass(ELECTION, [a]);
    expect(bed.reigning()).toEqual(['a']);
  });

  test('that loses its lease tells those who wait that it may or may not be done', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    bed.isolate('a');
    const outcomes: unknown[] = [];
    a.election.change({ kind: 'offline', node_id: 'c' }, (outcome) => outcomes.push(outcome));
    bed.pass(ELECTION);
    expect(outcomes).toMatchObject([{ code: 'NOT_CONNECTED' }]);
    expect(bed.reigning()).toEqual(['b']);
  });

  test('lets a node vote that was admitted as soon as it has the list, and not before', () => {
    const bed = elected(['a', 'b', 'c']);
    const a = bed.node('a');
    const change = { kind: 'admit', node_id: 'd', instance_id: 'd/1', role: 'node', votes: true } as const;
    a.election.change(change, () => {});
    bed.pass(LEASE);
    expect(find(a.disk.list, 'd')?.vote).toBe('soon');
    const d = new Bed(['d']).node('d');
    Object.assign(d, { bed });
    bed.nodes.push(d);
    d.disk = { ...d.disk, list: a.disk.list };
    d.restart();
    bed.pass(LEASE);
    expect(find(a.disk.list, 'd')?.vote).toBe('yes');
    expect(find(d.disk.list, 'd')?.vote).toBe('yes');
  });

  test('that is offline resigns, is not elected again, and votes', () => {
    const bed = elected(['a', 'b', 'c']);
    bed.node('a').election.change({ kind: 'offline', node_id: 'a' }, () => {});
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
    bed.isolate('c');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
  });
});

describe('two nodes', () => {
  test('are safe: without the other one nobody coordinates', () => {
    const bed = elected(['a', 'b']);
    bed.isolate('a');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual([]);
  });

  test('with promote: the survivor coordinates once the other one counts as dead, and in the end one remains', () => {
    const bed = elected(['a', 'b'], { twoNode: 'promote' });
    bed.isolate('a');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual([]);
    bed.node('b').silent.add('a');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['b']);
    bed.node('a').silent.add('b');
    bed.pass(ELECTION);
    expect(bed.reigning()).toEqual(['a', 'b']); // the price
    bed.cut.clear();
    for (const { silent } of bed.nodes) silent.clear();
    bed.pass(ELECTION);
    expect(bed.reigning()).toHaveLength(1);
  });
});
