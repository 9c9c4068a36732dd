import { describe, expect, test } from 'bun:test';
import type { Logger } from '../../../src/lib/log.ts';
import { Refusals, Sparingly } from '../../../src/rpc/refusals.ts';

function bed() {
  const lines: Record<string, unknown>[] = [];
  const clock = { now: 5 };
  const log = {
    warn: (_: string, fields: Record<string, unknown>) => lines.push(fields),
  } as unknown as Logger;
  return { lines, clock, refusals: new Refusals(log, () => clock.now) };
}

describe('refusals in the log', () => {
  test('of one address are one line a minute, however many and for whatever reasons', () => {
    const { refusals, lines, clock } = bed();
    for (let i = 0; i < 100; i++)
      refusals.report({ address: '10.0.0.9', subject: undefined, reason: `reason ${i}` });
    expect(lines).toEqual([{ address: '10.0.0.9', subject: 'no certificate', reason: 'reason 0' }]);
    clock.now += 59_999;
    expect(refusals.report({ address: '10.0.0.9', subject: 'CN=x', reason: 'r' })).toBe(false);
    clock.now += 1;
    expect(refusals.report({ address: '10.0.0.9', subject: 'CN=x', reason: 'r' })).toBe(true);
    expect(lines).toHaveLength(2);
  });

  test('of two addresses are two lines', () => {
    const { refusals, lines } = bed();
    for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.1'])
      refusals.report({ address, subject: 'CN=node-b', reason: 'removed' });
    expect(lines.map(({ address }) => address)).toEqual(['10.0.0.1', '10.0.0.2']);
  });

  test('of very many addresses are not remembered for ever', () => {
    const sparingly = new Sparingly(60_000, () => 5);
    for (let i = 0; i < 25_000; i++) expect(sparingly.allows(`address ${i}`)).toBe(true);
    expect(sparingly.allows('address 24999')).toBe(false);
    const { last } = sparingly as unknown as { last: Map<string, number> };
    expect(last.size).toBeLessThanOrEqual(10_000);
  });
});
