/** Lines for the IPC door, from sensible to absurd; the same seed gives the same lines. */

function words(text: string): string[] {
  return text.split(' ');
}

const METHODS = [
  ...words(
    'status.get health.check nodes.list nodes.get coordinator.get audit.query events.subscribe status',
  ),
  ...words('__proto__ constructor toString audit.query\u0000'),
  '',
  ' status.get',
];
const PARAMETERS = [
  ...words(
    'limit offset action_filter actor_filter target_type target_id success since until cursor node_id',
  ),
  ...words('status_filter actions __proto__ constructor toJSON length'),
  '',
];
const STRINGS = [
  ...words('a node-a healthy node.updated \u0000 \ud800 😀 2026-01-31T00:00:00Z 0000-01-01T00:00:00Z'),
  ...words('9999-12-31T23:59:59+23:59 WyIyMDI2Il0 ../../etc/passwd %s%n {"id":1} \n \r \u2028'),
  '',
  "'; DROP TABLE steep_repl.nodes; --",
  'x'.repeat(5000),
];
const NUMBERS = [0, -0, 1, -1, 5, 1000, 1001, 1.5, 1e308, -1e308, 2 ** 31, 2 ** 53, 1e-7];

export class Fuzzer {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A line without its end, and without a line feed in it. */
  line(): Buffer {
    const kind = this.below(10);
    if (kind < 5) return Buffer.from(JSON.stringify(this.request()));
    if (kind < 8) return this.damaged(Buffer.from(JSON.stringify(this.request())));
    if (kind < 9) return Buffer.from(JSON.stringify(this.value(0)) ?? '');
    return this.withoutFeeds(Buffer.from(Array.from({ length: this.below(200) }, () => this.below(256))));
  }

  private request(): Record<string, unknown> {
    const request: Record<string, unknown> = {};
    if (this.below(20) > 0) request['id'] = this.below(10) > 0 ? String(this.below(1000)) : this.value(0);
    if (this.below(20) > 0) request['method'] = this.below(20) > 0 ? this.method() : this.value(0);
    if (this.below(3) > 0) request['params'] = this.below(10) > 0 ? this.parameters() : this.value(0);
    return request;
  }

  /** Subscriptions are for as long as the client stays: a few are enough. */
  private method(): string {
    const method = this.pick(METHODS);
    return method === 'events.subscribe' && this.below(20) > 0 ? 'status.get' : method;
  }

  private parameters(): Record<string, unknown> {
    return Object.fromEntries(
      Array.from({ length: this.below(4) }, () => [this.pick(PARAMETERS), this.value(0)]),
    );
  }

  private value(depth: number): unknown {
    const kind = this.below(depth > 3 ? 6 : 9);
    if (kind < 3) return this.pick(STRINGS);
    if (kind < 5) return this.pick(NUMBERS);
    if (kind < 6) return this.pick([null, true, false]);
    if (kind < 8) return Array.from({ length: this.below(4) }, () => this.value(depth + 1));
    return Object.fromEntries(
      Array.from({ length: this.below(4) }, () => [this.pick(PARAMETERS), this.value(depth + 1)]),
    );
  }

  private damaged(bytes: Buffer): Buffer {
    for (let count = 1 + this.below(3); count > 0 && bytes.length > 0; count -= 1) {
      const at = this.below(bytes.length);
      const kind = this.below(4);
      if (kind === 0) bytes = bytes.subarray(0, at);
      else if (kind === 1) bytes[at] = this.below(256);
      else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(this.below(at + 1))]);
      else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    }
    return this.withoutFeeds(bytes);
  }

  private withoutFeeds(bytes: Buffer): Buffer {
    for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at)) bytes[at] = 32;
    return bytes;
  }

  private pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** mulberry32: a whole number below the limit. */
  private below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }
}
