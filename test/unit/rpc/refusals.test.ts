import { describe, expect, test } from 'bun:test';
import type { Logger } from '../../../src/lib/log.ts';
import { RefusalAudit, Refusals, Sparingly } from '../../../src/rpc/refusals.ts';

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

  test('repeat only the beginning of what was sent', () => {
    const { refusals, lines } = bed();
    const long = 'x'.repeat(1_000_000);
    refusals.report({ address: '10.0.0.1', subject: long, reason: long });
    expect(JSON.stringify(lines).length).toBeLessThan(2000);
  });

  test('of very many addresses are not remembered for ever', () => {
    const sparingly = new Sparingly(60_000, () => 5);
    for (let i = 0; i < 25_000; i++) expect(sparingly.allows(`address ${i}`)).toBe(true);
    expect(sparingly.allows('address 24999')).toBe(false);
    const { last } = sparingly as unknown as { last: Map<string, number> };
    expect(last.size).toBeLessThanOrEqual(10_000);
  });
});

describe('refused registrations in the audit trail', () => {
  test('are each caller and reason once an hour, and ten reasons of each caller', () => {
    const clock = { now: 5 };
    const audit = new RefusalAudit(() => clock.now);
    const told = (caller: string, reasons: number): number =>
      Array.from({ length: reasons }, (_, i) => audit.allows(caller, `reason ${i}`)).filter(Boolean).length;
    expect([told('node-b', 1), told('node-b', 1)]).toEqual([1, 0]);
    expect([told('node-b', 1000), told('node-c', 1000), told('node-d', 2)]).toEqual([9, 10, 2]);
    clock.now += 3_600_000;
    expect(told('node-b', 1000)).toBe(10);
  });
});
