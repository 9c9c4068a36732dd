import { expect, test } from 'bun:test';
import { hostsFrom } from '../../../src/cli/tls/local.ts';

test('a list of hosts is names and addresses, brackets and last dots taken off', () => {
  expect(hostsFrom('db1.example.com., 10.0.0.1,[fe80::1],db_1')).toEqual([
    'db1.example.com',
    '10.0.0.1',
    'fe80::1',
    'db_1',
  ]);
  expect(hostsFrom(undefined)).toBeUndefined();
});

test.each(['', 'a b', '10.0.0.256', 'db1,,db2', '*.example.com', 'db1:5433', 'http://db1'])(
  '%p is no list of hosts',
  (text) => {
    expect(() => hostsFrom(text)).toThrow('is no host name or address');
  },
);
