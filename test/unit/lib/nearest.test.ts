import { expect, test } from 'bun:test';
import { nearest } from '../../../src/lib/nearest.ts';

const keys = ['node_id', 'node_name', 'priority', 'role', 'postgresql', 'port', 'bind'];

test.each([
  ['node_idd', 'node_id'],
  ['nodeid', 'node_id'],
  ['NODE_ID', 'node_id'],
  ['prioirty', 'priority'],
  ['prot', 'port'],
  ['postgres', 'postgresql'],
  ['bnid', 'bind'],
])('%s meant %s', (word, meant) => {
  expect(nearest(word, keys)).toBe(meant);
});

test.each(['', 'x', 'colour', 'timeout', 'database'])('%j is near to nothing', (word) => {
  expect(nearest(word, keys)).toBeUndefined();
});

test('of several the nearest is taken', () => {
  expect(nearest('sslcer', ['sslkey', 'sslcert', 'sslmode'])).toBe('sslcert');
});
