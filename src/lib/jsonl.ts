/** Splits a byte stream into lines of bounded length; the bytes of a line are only decoded once it is whole. */

export class LineTooLong extends Error {}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const FIRST_CAPACITY = 1024;

export class LineSplitter {
  private readonly limit: number;
  private rest = Buffer.alloc(0);
  private length = 0;

  /** `limit`: bytes of a line, its end not counted. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** The lines that this chunk completes, without their ends (`\n` or `\r\n`). Throws LineTooLong. */
  *push(chunk: Buffer): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const part = chunk.subarray(start, end);
      start = end + 1;
      yield this.length === 0 ? this.whole(part) : this.finish(part);
    }
    if (start < chunk.length) this.keep(chunk.subarray(start));
  }

  /** Whether a line was begun and has not ended. */
  get unfinished(): boolean {
    return this.length > 0;
  }

  private finish(part: Buffer): string {
    if (part.length > 0) this.keep(part);
    const line = this.whole(this.rest.subarray(0, this.length));
    this.length = 0;
    if (this.rest.length > FIRST_CAPACITY) this.rest = Buffer.alloc(0);
    return line;
  }

  private whole(bytes: Buffer): string {
    const length = bytes.length - (bytes.at(-1) === RETURN ? 1 : 0);
    if (length > this.limit) throw this.tooLong();
    return bytes.toString('utf8', 0, length);
  }

  /** Grows by doubling: a line that comes a byte at a time is copied a few times, not at each byte. */
  private keep(part: Buffer): void {
    const length = this.length + part.length;
    // The last byte may be half of an end, which is not counted.
    if (length > this.limit + (part.at(-1) === RETURN ? 1 : 0)) throw this.tooLong();
    if (length > this.rest.length) {
      const larger = Buffer.alloc(Math.max(FIRST_CAPACITY, 2 ** Math.ceil(Math.log2(length))));
      this.rest.copy(larger, 0, 0, this.length);
      this.rest = larger;
    }
    part.copy(this.rest, this.length);
    this.length = length;
  }

  private tooLong(): LineTooLong {
    return new LineTooLong(`a line is longer than ${this.limit} bytes`);
  }
}
