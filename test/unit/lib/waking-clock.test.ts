import { expect, test } from 'bun:test';
import { wakingClock } from '../../../src/lib/waking-clock.ts';

test('a clock goes on while it is looked at, and stands still while nobody can look', () => {
  let now = 100;
  const clock = wakingClock(
    () => now,
    () => 1000,
  );
  const after = (milliseconds: number): number => {
    now += milliseconds;
    return clock();
  };
  expect([after(0), after(1000), after(1000)]).toEqual([100, 1100, 2100]);
  expect(after(60_000)).toBe(2100);
  expect([after(0), after(500)]).toEqual([2100, 2600]);
});
