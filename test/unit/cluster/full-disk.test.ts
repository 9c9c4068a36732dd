/** What the disk refuses has not happened, for nobody: neither for those who ask nor for the node itself. */
import { expect, test } from 'bun:test';
import { find } from '../../../src/cluster/list.ts';
import { Bed, INTERVAL, LEASE, type Node } from './support.ts';

const ELECTION = 2 * LEASE + 2000;
const FULL = new Error('ENOSPC: no space left on device');

function elected(ids: string[], soon: string[] = []): { bed: Bed; a: Node } {
  const bed = new Bed(ids, { soon });
  for (const id of soon) bed.isolate(id);
  const a = bed.node('a');
  bed.pass(ELECTION, [a]);
  expect(bed.reigning()).toEqual(['a']);
  return { bed, a };
}

test('a promise that cannot be stored is not given', () => {
  const bed = new Bed(['a', 'b', 'c']);
  const voter = bed.node('c');
  voter.diskError = FULL;
  const ask = (): unknown =>
    voter.election.handle('a', {
      kind: 'renew',
      cluster_id: 'c',
      term: 1,
      instance_id: 'a/1',
      lease: LEASE,
      version: { term: 0, number: 1 },
      list: undefined,
      since: 0,
    });
  expect(ask).toThrow(FULL);
  expect(voter.election.coordinator).toBeUndefined();
  expect(voter.disk).toMatchObject({ term: 0, longest_promise: 0 });
  voter.diskError = undefined;
  ask();
  expect(voter.election.coordinator?.node_id).toBe('a');
});

test('a change that cannot be stored is told as one that failed, and the list is what it was', () => {
  const { bed, a } = elected(['a', 'b', 'c']);
  const { list } = a.disk;
  a.diskError = FULL;
  const outcomes: unknown[] = [];
  a.election.change({ kind: 'offline', node_id: 'c' }, (outcome) => outcomes.push(outcome));
  bed.deliver();
  expect(outcomes).toMatchObject([{ message: expect.stringContaining('ENOSPC') }]);
  expect(a.disk.list).toEqual(list);
  expect(bed.reigning()).toEqual(['a']);
});

test('a node that is to vote waits until the disk takes it: one attempt for each answer, not one after the other', () => {
  const { bed, a } = elected(['a', 'b', 'c', 'd'], ['d']);
  bed.cut.clear();
  a.diskError = FULL;
  a.patience = 100; // or it would go on for ever
  bed.pass(INTERVAL + 100, [a]);
  expect(a.refused).toBeGreaterThan(0);
  expect(a.refused).toBeLessThan(10);
  a.diskError = undefined;
  bed.pass(2 * INTERVAL, [a]);
  expect(find(a.disk.list, 'd')?.vote).toBe('yes');
});

test('a node that cannot store that it stands does not coordinate, and does when it can', () => {
  const bed = new Bed(['a', 'b', 'c']);
  const a = bed.node('a');
  a.diskError = FULL;
  expect(() => bed.pass(ELECTION, [a])).toThrow(FULL);
  expect(a.disk.vote).toBeNull();
  expect(bed.reigning()).toEqual([]);
  a.diskError = undefined;
  bed.pass(ELECTION, [a]);
  expect(bed.reigning()).toEqual(['a']);
});
