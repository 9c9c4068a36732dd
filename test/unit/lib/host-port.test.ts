import { describe, expect, test } from 'bun:test';
import { formatHostPort, isHost, parseHostPort } from '../../../src/lib/host-port.ts';

describe('host:port', () => {
  test.each([
    ['db1:5433', 'db1', 5433],
    ['db1.example.com:1', 'db1.example.com', 1],
    ['10.0.0.1:65535', '10.0.0.1', 65535],
    ['[fd00::1]:5433', 'fd00::1', 5433],
    ['[fe80::1%eth0]:5433', 'fe80::1%eth0', 5433],
    ['pg_node-1:5433', 'pg_node-1', 5433],
  ])('%s is understood and written back the same', (text, host, port) => {
    const parsed = parseHostPort(text);
    expect(parsed).toEqual({ host, port });
    expect(parsed && formatHostPort(parsed)).toBe(text);
  });

  test.each([
    '',
    'db1',
    'db1:',
    ':5433',
    'db1:0',
    'db1:65536',
    'db1:x',
    'db1:54 33',
    'fd00::1:5433',
    '[10.0.0.1]:1',
  ])('%j is none', (text) => {
    expect(parseHostPort(text)).toBeUndefined();
  });
  test.each([
    '[db1]:1',
    'a b:1',
    '-a:1',
    'a-:1',
    'a..b:1',
    '10.0.0.256:1',
    '1.2.3:1',
    'user@db1:1',
    'http://db1:1',
    'db1:1:2',
  ])('%j is none either', (text) => {
    expect(parseHostPort(text)).toBeUndefined();
  });

  test('a host is a name or an address, without port or brackets', () => {
    for (const host of ['localhost', 'db1.example.com.', '127.0.0.1', '::', '::1', '1a'])
      expect(isHost(host)).toBe(true);
    for (const host of ['', '*', 'a:1', '[::1]', 'a/b', '999.1.1.1', 'a'.repeat(254)])
      expect(isHost(host)).toBe(false);
  });
});
