import { describe, expect, test } from 'bun:test';
import { LineSplitter, LineTooLong } from '../../../src/lib/jsonl.ts';

function split(bytes: Buffer, chunkSize: number, limit = 1024): string[] {
  const splitter = new LineSplitter(limit);
  const lines: string[] = [];
  for (let start = 0; start < bytes.length; start += chunkSize)
    lines.push(...splitter.push(bytes.subarray(start, start + chunkSize)));
  return lines;
}

const everySize = Array.from({ length: 40 }, (_, index) => index + 1);

describe('splitting bytes into lines', () => {
  test('gives the same lines whatever the size of the chunks, characters of several bytes included', () => {
    const lines = ['', 'a', '{"id":"ä€😀"}', '', '\r', 'a\rb', '😀'.repeat(9), 'z'];
    for (const end of ['\n', '\r\n']) {
      const bytes = Buffer.from(lines.map((line) => line + end).join(''));
      for (const size of [...everySize, bytes.length])
        // A line of one return before a bare line feed is an empty line with a CRLF end.
        expect(split(bytes, size)).toEqual(
          end === '\n' ? lines.map((line) => (line === '\r' ? '' : line)) : lines,
        );
    }
  });

  test('keeps the rest of a chunk until its line ends, and says that it waits', () => {
    const splitter = new LineSplitter(100);
    expect(splitter.unfinished).toBe(false);
    expect([...splitter.push(Buffer.from('one\ntw'))]).toEqual(['one']);
    expect(splitter.unfinished).toBe(true);
    expect([...splitter.push(Buffer.from('o\n'))]).toEqual(['two']);
    expect(splitter.unfinished).toBe(false);
  });

  test('takes a line of exactly the limit, with either end, in chunks of every size', () => {
    for (const end of ['\n', '\r\n'])
      for (const size of everySize)
        expect(split(Buffer.from(`${'x'.repeat(30)}${end}y${end}`), size, 30)).toEqual(['x'.repeat(30), 'y']);
  });

  test('refuses a line of one byte more, with either end, in chunks of every size', () => {
    for (const end of ['\n', '\r\n', 'x\n', '\r\r\n'])
      for (const size of everySize)
        expect(() => split(Buffer.from('x'.repeat(31) + end), size, 30)).toThrow(LineTooLong);
  });

  test('refuses a line that is too long before it ends, in chunks of every size', () => {
    for (const size of everySize)
      expect(() => split(Buffer.from('x'.repeat(32)), size, 30)).toThrow(LineTooLong);
  });

  test('counts bytes, not characters', () => {
    expect(split(Buffer.from('€€€\n'), 5, 9)).toEqual(['€€€']);
    expect(() => split(Buffer.from('€€€\n'), 5, 8)).toThrow(LineTooLong);
  });

  // Copied anew at each byte this would be half a terabyte, and run into the limit of a test.
  test('takes a mebibyte that comes a byte at a time', () => {
    const size = 1024 * 1024;
    const [line] = split(Buffer.from(`${'x'.repeat(size)}\n`), 1, size);
    expect(line).toHaveLength(size);
  });
});
