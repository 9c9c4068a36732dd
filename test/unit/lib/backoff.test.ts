import { describe, expect, test } from 'bun:test';
import * as fc from 'fast-check';
import { Backoff } from '../../../src/lib/backoff.ts';

describe('the wait before the next attempt', () => {
  test('doubles from the first to the longest', () => {
    const backoff = new Backoff(() => 0);
    expect(Array.from({ length: 6 }, () => backoff.next(100, 800))).toEqual([100, 200, 400, 800, 800, 800]);
  });

  test('begins anew after a success', () => {
    const backoff = new Backoff(() => 0);
    backoff.next(100, 800);
    backoff.next(100, 800);
    backoff.reset();
    expect(backoff.next(100, 800)).toBe(100);
  });

  test('is shortened by up to a quarter, and never prolonged, so that many clients do not come at once', () => {
    const backoff = new Backoff(() => 0.999);
    const waits = Array.from({ length: 5 }, () => backoff.next(100, 800));
    for (const [i, full] of [100, 200, 400, 800, 800].entries()) {
      expect(waits[i]).toBeGreaterThan(full * 0.75);
      expect(waits[i]).toBeLessThan(full);
    }
    const spread = new Set(Array.from({ length: 50 }, () => new Backoff().next(100, 800)));
    expect(spread.size).toBeGreaterThan(10);
  });

  test('stays within its limits for ever, whatever changes between attempts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ first: fc.integer({ min: 1, max: 60_000 }), more: fc.nat(60_000) }), {
          maxLength: 50,
        }),
        fc.nat(100_000),
        (steps, before) => {
          const backoff = new Backoff();
          for (let i = 0; i < before % 2000; i++) backoff.next(100, 800);
          for (const { first, more } of steps) {
            const wait = backoff.next(first, first + more);
            expect(wait).toBeGreaterThanOrEqual(first * 0.75);
            expect(wait).toBeLessThanOrEqual(first + more);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});
