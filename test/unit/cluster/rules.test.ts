/**
 * One schedule for each rule of src/cluster/rules.ts: with the rule it ends well, and with the rule taken away (as
 * the simulation does it, test/simulation/broken.ts) two nodes coordinate at one moment. The simulation meets such
 * schedules by chance; here each can be read.
 */
import { describe, expect, test } from 'bun:test';
import type { Listed, Version } from '../../../src/cluster/list.ts';
import type { Answer, Request } from '../../../src/cluster/messages.ts';
import { broken } from '../../simulation/broken.ts';
import { Bed, type BedOptions, INTERVAL, LEASE, type Node } from './support.ts';

/** Long enough for everything that an election takes. */
const ELECTION = 2 * LEASE + 2000;

function elected(ids: string[], options: BedOptions): Bed {
  const bed = new Bed(ids, options);
  bed.pass(ELECTION);
  expect(bed.node('a').election.reigns).toBe(true);
  return bed;
}

/** Nodes a, b and c, where a and c do not hear each other. */
function apart(options: BedOptions): { bed: Bed; a: Node; b: Node; c: Node } {
  const bed = new Bed(['a', 'b', 'c'], options);
  bed.between('a', 'c', false);
  const [a, b, c] = [bed.node('a'), bed.node('b'), bed.node('c')];
  c.rank = 0;
  c.restart();
  return { bed, a, b, c };
}

/** What a coordinator of this term asks, by a list of those. */
function renewalOf(id: string, version: Version, ids: string[]): Request {
  const nodes = ids.map((node_id): Listed => ({
    node_id,
    instance_id: `${node_id}/1`,
    role: 'node',
    state: 'member',
    vote: 'yes',
  }));
  const list = { ...version, nodes };
  const common = { cluster_id: 'c', term: version.term, instance_id: `${id}/1`, lease: LEASE, since: 0 };
  return { ...common, kind: 'renew', version, list };
}

/** Its votes are asked for and given; its renewals are lost. */
function winsUnheard(bed: Bed, { id, election }: Node): void {
  election.tick();
  for (let batch = bed.take(); batch.length > 0; batch = bed.take())
    for (const { from, to, request } of batch)
      if (request.kind === 'vote' && !bed.cut.has(`${id}>${to}`))
        from.election.answered(to, request, bed.node(to).election.handle(id, request));
}

/** b votes for a, then c stands for the same term while a's reign is young; `meanwhile`: what happens to b. */
function twoInOneTerm(options: BedOptions, meanwhile: (b: Node, before: Node['disk']) => void): number {
  const { bed, a, b, c } = apart(options);
  const before = b.disk;
  winsUnheard(bed, a);
  expect(b.disk.vote?.node_id).toBe('a');
  meanwhile(b, before);
  bed.pass(300, [c]);
  return bed.most(INTERVAL, [a, c]);
}

/** Each ends with how many coordinated at one moment. */
const schedules: Record<string, { what: string; run: (options: BedOptions) => number }> = {
  'a promise binds': {
    what: 'the line between the coordinator and one of two followers breaks',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      bed.between('a', 'c', false);
      return bed.most(ELECTION);
    },
  },
  'silence after a start': {
    what: 'a voter that forgot its promise restarts while somebody wants its vote',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      bed.between('a', 'c', false);
      bed.pass(LEASE);
      let most = 0;
      for (let round = 0; round < 20; round += 1) {
        bed.node('b').restart();
        most = Math.max(most, bed.most(150));
      }
      return most;
    },
  },
  'the promise is as long as the lease': {
    what: 'the coordinator is cut off, and the others do not wait for the end of its lease',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      bed.isolate('a');
      return bed.most(ELECTION);
    },
  },
  'the lease counts from the asking': {
    what: 'answers travel two thirds of a lease, and the coordinator is cut off meanwhile',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      const [a, b, c] = [bed.node('a'), bed.node('b'), bed.node('c')];
      while (bed.sent.length === 0) {
        bed.now += 50;
        a.election.tick();
      }
      const answers = bed
        .take()
        .map(({ to, request }): [string, Request, Answer] => [
          to,
          request,
          bed.node(to).election.handle('a', request),
        ]);
      bed.isolate('a');
      bed.pass((2 * LEASE) / 3, [b, c]);
      for (const answer of answers) a.election.answered(...answer);
      return bed.most(ELECTION, [b, c]);
    },
  },
  'a margin for clocks': {
    what: 'the coordinator has a slow clock, its voters have fast ones, and it is cut off',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      bed.node('b').rank = 0;
      bed.isolate('a');
      let most = 0;
      for (let round = 0; round < ELECTION / 50; round += 1) {
        for (const node of bed.nodes) node.drift(node.id === 'a' ? -2.5 : 2.5);
        most = Math.max(most, bed.most(50));
      }
      return most;
    },
  },
  'both clocks count': {
    what: 'the machine of the coordinator sleeps while another one is elected, and wakes',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      const before = bed.now;
      bed.isolate('a');
      bed.pass(ELECTION, [bed.node('b'), bed.node('c')]);
      bed.node('a').asleep += bed.now - before;
      return bed.reigning().length;
    },
  },
  'one vote a term': {
    what: 'two that do not hear each other stand at one moment, and a third hears both',
    run: (options) => apart(options).bed.most(INTERVAL),
  },
  'terms only grow': {
    what: 'who won a term and was not heard goes on asking after the next term has begun',
    run: (options) => {
      const { bed, a, c } = apart(options);
      winsUnheard(bed, a);
      bed.pass(300, [c]);
      expect(bed.reigning()).toEqual(['c']);
      return bed.most(INTERVAL, [a, c]);
    },
  },
  'no vote for an older list': {
    what: 'somebody who missed that two voters came counts by a list of three',
    run: (options) => {
      const bed = new Bed(['a', 'b', 'c', 'u', 'v'], { ...options, soon: ['u', 'v'] });
      bed.isolate('c');
      bed.pass(ELECTION, [bed.node('a')]);
      expect(bed.node('b').disk.list.nodes.map(({ vote }) => vote)).toEqual(Array(5).fill('yes'));
      bed.isolate('b');
      bed.between('b', 'c', true);
      bed.bare.add('b>c'); // or c would take b's list from its answer, and count by that
      return bed.most(ELECTION, [bed.node('a'), bed.node('c')]);
    },
  },
  'a majority': {
    what: 'four are cut in halves',
    run: (options) => {
      const bed = elected(['a', 'b', 'c', 'd'], options);
      for (const one of ['a', 'b']) for (const other of ['c', 'd']) bed.between(one, other, false);
      return bed.most(ELECTION);
    },
  },
  'the own term first': {
    what: 'who builds on a list that nobody has is elected by voters whom nobody else knows',
    run: (options) => {
      const bed = new Bed(['a', 'b', 'c', 'u', 'v'], { ...options, soon: ['u', 'v'] });
      const [a, b, c] = [bed.node('a'), bed.node('b'), bed.node('c')];
      bed.isolate('u');
      bed.isolate('v');
      bed.pass(ELECTION, [a]);
      // u shall vote: only a and u hear of it, and a loses its lease.
      bed.isolate('a');
      bed.between('a', 'u', true);
      bed.pass(LEASE, [a]);
      expect(a.disk.list.number).toBe(2);
      // a is elected by that list, with the vote of b, to which it does not get through; v shall vote too.
      bed.between('a', 'b', true);
      bed.between('a', 'v', true);
      bed.bare.add('a>b');
      bed.pass(LEASE, [a]);
      expect(bed.reigning()).toEqual(['a']);
      // a, u and v are a majority of five; b and c know of three, and are two.
      bed.between('a', 'b', false);
      bed.pass(LEASE, [a]);
      return bed.most(ELECTION, [a, b, c]);
    },
  },
  'the lease before each act': {
    what: 'the coordinator is cut off and does not look at its clock',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      bed.isolate('a');
      return bed.most(ELECTION, [bed.node('b'), bed.node('c')]);
    },
  },
  'a release is for one promise': {
    what: 'what a former coordinator gave back arrives when its voter follows the next one',
    run: (options) => {
      const bed = elected(['a', 'b', 'c'], options);
      const [a, b] = [bed.node('a'), bed.node('b')];
      a.election.transfer('c');
      const late = bed.sent.filter(({ to }) => to === 'b');
      bed.sent = bed.sent.filter(({ to }) => to !== 'b');
      b.rank = 9;
      bed.pass(LEASE);
      expect(bed.reigning()).toEqual(['c']);
      bed.between('a', 'c', false);
      bed.pass(LEASE);
      let most = 0;
      for (let round = 0; round < 60; round += 1) {
        for (const { request } of late) b.election.handle('a', request);
        most = Math.max(most, bed.most(50));
      }
      return most;
    },
  },
  'a vote is of one copy': {
    what: 'a voter comes back without its last vote, as another copy of itself',
    run: (options) =>
      twoInOneTerm(options, (b, before) => {
        b.disk = { ...before, instance_id: 'b/2' };
        b.restart();
      }),
  },
};

describe('each rule stops a schedule', () => {
  for (const [rule, { what, run }] of Object.entries(schedules))
    test(`${rule}: ${what}`, () => {
      expect(run({})).toBeLessThanOrEqual(1);
      expect(run({ rules: broken[rule]!.rules! })).toBe(2);
    });

  test('a vote is on disk before it is told: a voter comes back without its last vote, and believes itself', () => {
    const kept = (b: Node): void => b.restart();
    const lost = (b: Node, before: Node['disk']): void => {
      b.disk = before;
      b.restart();
    };
    expect(twoInOneTerm({}, kept)).toBe(1);
    expect(twoInOneTerm({}, lost)).toBe(2);
  });

  test('an old copy of the state does not vote: it is asked before it knows what it is', () => {
    const old = (b: Node, before: Node['disk']): void => {
      b.disk = before;
      b.restart({ trusts: false });
    };
    expect(twoInOneTerm({}, old)).toBeLessThanOrEqual(1);
  });

  test('an old copy of the state promises nothing before it knows what it is, for as long as who asks may reign', () => {
    const most = (options: BedOptions): number => {
      const { bed, a, b, c } = apart(options);
      const before = b.disk;
      a.lease = c.lease = 3 * LEASE; // not every node need have the same
      winsUnheard(bed, a);
      bed.pass(300, [c]);
      b.disk = before;
      b.restart({ trusts: false });
      bed.between('b', 'c', false);
      const young = bed.most(INTERVAL, [a, c]);
      return Math.max(young, bed.most(LEASE, [a]));
    };
    expect(most({})).toBe(1);
    expect(most({ rules: { hesitation: () => 0 } })).toBe(2);
  });

  test('no list from strangers: who was removed brings one in which nobody but it belongs', () => {
    const follows = (options: BedOptions): string | undefined => {
      const bed = elected(['a', 'b', 'c'], options);
      const [a, b] = [bed.node('a'), bed.node('b')];
      a.election.change({ kind: 'remove', node_id: 'c' }, () => {});
      bed.pass(INTERVAL);
      expect(b.disk.list.nodes[2]).toMatchObject({ state: 'removed', instance_id: '' });
      b.election.handle('c', renewalOf('c', { term: 99, number: 1 }, ['c']));
      return b.election.coordinator?.node_id;
    };
    expect(follows({})).toBe('a');
    expect(follows(broken['no list from strangers']!)).toBe('c');
  });

  test('no list from strangers: who was removed by a change that came to nothing is none', () => {
    const believes = (instance_id: string): boolean => {
      const bed = new Bed(['a', 'b', 'c']);
      const b = bed.node('b');
      const nodes = b.disk.list.nodes.map((one) =>
        one.node_id === 'c' ? { ...one, instance_id, state: 'removed' as const } : one,
      );
      b.disk = { ...b.disk, list: { term: 1, number: 2, nodes } };
      b.restart();
      return b.election.handle('c', renewalOf('c', { term: 2, number: 1 }, ['a', 'b', 'c'])).granted;
    };
    expect(believes('c/1')).toBe(true);
    expect(believes('')).toBe(false);
  });

  test.each(['yes', 'never'] as const)(
    'no list from strangers: who was let in while somebody was away is known to others (votes: %s)',
    (vote) => {
      const bed = new Bed(['a', 'b', 'c', 'u']);
      const c = bed.node('c');
      for (const node of bed.nodes) {
        const listed = node.disk.list.nodes.map((one) => (one.node_id === 'c' ? { ...one, vote } : one));
        const known = node === c ? listed.filter(({ node_id }) => node_id !== 'u') : listed;
        node.disk = { ...node.disk, list: { term: 0, number: node === c ? 1 : 2, nodes: known } };
        node.rank = node.id === 'u' ? 0 : 5;
        node.restart();
      }
      bed.isolate('a');
      bed.isolate('c');
      bed.between('a', 'b', true);
      bed.between('a', 'u', true);
      bed.pass(ELECTION);
      expect(bed.reigning()).toEqual(['u']);
      bed.isolate('a'); // u and b are heard, and are no majority of four: c is needed where it votes
      for (const other of ['b', 'u']) bed.between('c', other, true);
      bed.pass(3 * ELECTION);
      expect(bed.reigning()).toHaveLength(1);
      expect([c.election.coordinator?.node_id]).toEqual(bed.reigning());
    },
  );

  test('both lists decide about a change: one of two voters is away while a third one comes', () => {
    const done = (options: BedOptions): boolean => {
      const bed = new Bed(['a', 'b', 'u'], { ...options, soon: ['u'] });
      const a = bed.node('a');
      bed.isolate('u');
      bed.pass(ELECTION, [a]);
      bed.isolate('a');
      bed.between('a', 'u', true);
      let outcome: unknown;
      a.election.change({ kind: 'enfranchise', node_id: 'u' }, (told) => (outcome = told));
      bed.deliver();
      expect(bed.node('u').disk.list.number).toBe(2);
      return outcome !== undefined;
    };
    expect(done({})).toBe(false);
    expect(done(broken['both lists decide about a change']!)).toBe(true);
  });

  test('every rule that the simulation takes away has its schedule here', () => {
    const others = [
      'a vote is on disk before it is told',
      'an old copy of the state does not vote',
      'both lists decide about a change',
      'no list from strangers',
    ];
    expect([...Object.keys(schedules), ...others].sort()).toEqual(Object.keys(broken).sort());
  });
});
