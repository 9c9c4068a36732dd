import { expect, test } from 'bun:test';
import { Bed, INTERVAL, LEASE } from './support.ts';

const ELECTION = 2 * LEASE + 2000;

test('of two that promoted themselves in one term the smaller id stays', () => {
  const bed = new Bed(['a', 'b'], { twoNode: 'promote' });
  bed.isolate('a');
  bed.node('a').silent.add('b');
  bed.node('b').silent.add('a');
  bed.pass(ELECTION);
  expect(bed.reigning()).toEqual(['a', 'b']);
  expect(bed.node('a').disk.term).toBe(bed.node('b').disk.term);
  bed.cut.clear();
  bed.pass(INTERVAL + 100);
  expect(bed.reigning()).toEqual(['a']);
});
