import { describe, expect, test } from 'bun:test';
import { codeOf, messageOf, SteepError } from '../../../src/lib/errors.ts';

describe('SteepError.from', () => {
  test('gives our own errors back as they are', () => {
    const error = new SteepError('CONFLICT', 'taken', { hint: 'wait' });
    expect(SteepError.from(error)).toBe(error);
  });

  test('makes a defect of anything else, and keeps it as the cause', () => {
    const thrown: [unknown, string][] = [
      [new Error('oops'), 'oops'],
      [new TypeError(''), 'TypeError'],
      ['text', 'text'],
      [undefined, 'undefined'],
      [null, 'null'],
      ['', 'unknown error'],
    ];
    for (const [what, message] of thrown) {
      const error = SteepError.from(what);
      expect(error).toMatchObject({ code: 'INTERNAL_ERROR', message, name: 'SteepError' });
      expect(error.cause).toBe(what);
    }
  });
});

test('messageOf finds the words of an error that holds others', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED ::1:5432'), { code: 'ECONNREFUSED' });
  expect(messageOf(new AggregateError([refused]))).toBe('connect ECONNREFUSED ::1:5432');
  expect(messageOf(new AggregateError([refused], 'both failed'))).toBe('both failed');
  expect(messageOf(new AggregateError([]))).toBe('AggregateError');
});

test('codeOf finds only codes that are text', () => {
  expect(codeOf({ code: 'ENOENT' })).toBe('ENOENT');
  for (const thrown of [{ code: 7 }, {}, null, undefined, 'ENOENT', 7])
    expect(codeOf(thrown)).toBeUndefined();
});
