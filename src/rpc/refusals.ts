/** Tells the log who was refused and why, at most once an address and minute: a scanner must not fill the disk. */
import type { Logger } from '../lib/log.ts';

const WINDOW_MS = 60_000;
const MOST_ADDRESSES = 10_000;

export interface Refusal {
  /** Remote address, without its port. */
  address: string;
  /** Of the certificate, if there was one. */
  subject: string | undefined;
  reason: string;
}

export class Refusals {
  private readonly log: Logger;
  private readonly now: () => number;
  private readonly told = new Map<string, number>();

  constructor(log: Logger, now: () => number = () => performance.now()) {
    this.log = log;
    this.now = now;
  }

  /** True when it was logged. */
  report({ address, subject, reason }: Refusal): boolean {
    const now = this.now();
    const last = this.told.get(address);
    if (last !== undefined && now - last < WINDOW_MS) return false;
    if (this.told.size >= MOST_ADDRESSES) this.forget(now);
    this.told.set(address, now);
    this.log.warn('refused', { address, subject: subject ?? 'no certificate', reason });
    return true;
  }

  private forget(now: number): void {
    for (const [address, time] of this.told) if (now - time >= WINDOW_MS) this.told.delete(address);
    if (this.told.size >= MOST_ADDRESSES) this.told.clear();
  }
}
