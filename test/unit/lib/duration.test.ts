import { describe, expect, test } from 'bun:test';
import { assert, integer, property } from 'fast-check';
import { formatDuration, parseDuration } from '../../../src/lib/duration.ts';

describe('durations', () => {
  test.each([
    ['500ms', 500],
    ['5s', 5_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['2y', 63_072_000_000],
    ['17520h', 63_072_000_000],
    ['0s', 0],
  ])('%s is %d ms', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  test.each([
    '',
    '5',
    '0',
    's',
    '5 s',
    '1.5h',
    '-1s',
    '+1s',
    '5min',
    '5S',
    '1h30m',
    ' 5s',
    '5s\n',
    '999999999999999y',
  ])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test.each([
    [0, '0'],
    [1, '1ms'],
    [1_000, '1s'],
    [2_500, '2500ms'],
    [90_000, '90s'],
    [86_400_000, '1d'],
    [63_072_000_000, '2y'],
  ])('%d ms is written %s', (milliseconds, text) => {
    expect(formatDuration(milliseconds)).toBe(text);
  });

  test('what is written reads back the same', () => {
    assert(
      property(integer({ min: 1, max: 10 ** 13 }), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });
});
