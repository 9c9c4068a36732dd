import { expect, test } from 'bun:test';
import { daysUntil, invalidityOf, spanOf } from '../../../src/tls/expiry.ts';
import { derTime } from '../../../src/tls/der.ts';

test.each([
  [0, '0 seconds'],
  [999, '0 seconds'],
  [1000, '1 second'],
  [59_999, '59 seconds'],
  [60_000, '1 minute'],
  [7_200_000, '2 hours'],
  [-86_400_000, '1 day'],
  [400 * 86_400_000, '400 days'],
])('a span of %d ms is told as %p', (ms, text) => {
  expect(spanOf(ms)).toBe(text);
});

test('a certificate is valid at both ends of its time', () => {
  const [from, until] = [new Date(1000), new Date(2000)];
  expect(invalidityOf(from, until, from)).toBeUndefined();
  expect(invalidityOf(from, until, until)).toBeUndefined();
  expect(invalidityOf(from, until, new Date(3000))).toBe('expired 1 second ago');
  expect(invalidityOf(from, until, new Date(0))).toBe('not valid before 1970-01-01T00:00:01Z (in 1 second)');
});

test('days left are whole ones, and negative afterwards', () => {
  expect(daysUntil(new Date(86_400_000 * 2 - 1), new Date(0))).toBe(1);
  expect(daysUntil(new Date(0), new Date(1))).toBe(-1);
});

test.each([
  [0x17, '491231235959Z', '2049-12-31T23:59:59.000Z'],
  [0x17, '500101000000Z', '1950-01-01T00:00:00.000Z'],
  [0x18, '20500101000000Z', '2050-01-01T00:00:00.000Z'],
])('a time in DER (tag %d, %s) has the right century', (tag, text, expected) => {
  const content = Buffer.from(text);
  expect(derTime({ tag, content, whole: content })?.toISOString()).toBe(expected);
});
