/** Tells the log who was refused and why, at most once an address and minute: a scanner must not fill the disk. */
import type { Logger } from '../lib/log.ts';

const LOG_WINDOW_MS = 60_000;
const MOST_KEYS = 10_000;
/** Of what a stranger sent. */
const MOST_TEXT = 500;

/** Lets the same thing through once in a while. */
export class Sparingly {
  private readonly window: number;
  private readonly now: () => number;
  private readonly last = new Map<string, number>();

  constructor(window: number, now: () => number = () => performance.now()) {
    this.window = window;
    this.now = now;
  }

  allows(key: string): boolean {
    const now = this.now();
    const last = this.last.get(key);
    if (last !== undefined && now - last < this.window) return false;
    if (this.last.size >= MOST_KEYS) this.forget(now);
    this.last.set(key, now);
    return true;
  }

  private forget(now: number): void {
    for (const [key, time] of this.last) if (now - time >= this.window) this.last.delete(key);
    if (this.last.size >= MOST_KEYS) this.last.clear();
  }
}

const AUDIT_WINDOW_MS = 60 * 60_000;
const MOST_OF_A_CALLER = 10;

/**
 * What of refused registrations comes into the audit trail: a refused node tries again every second, so each caller
 * and reason once an hour; and a few reasons of each caller, who could think out a new one for each call.
 */
export class RefusalAudit {
  private readonly reasons: Sparingly;
  private readonly places: Sparingly;

  constructor(now?: () => number) {
    this.reasons = new Sparingly(AUDIT_WINDOW_MS, now);
    this.places = new Sparingly(AUDIT_WINDOW_MS, now);
  }

  allows(caller: string, reason: string): boolean {
    if (!this.reasons.allows(`${caller} ${reason}`)) return false;
    for (let place = 0; place < MOST_OF_A_CALLER; place++)
      if (this.places.allows(`${place} ${caller}`)) return true;
    return false;
  }
}

export interface Refusal {
  /** Remote address, without its port. */
  address: string;
  /** Of the certificate, if there was one. */
  subject: string | undefined;
  reason: string;
}

export class Refusals {
  private readonly log: Logger;
  private readonly told: Sparingly;

  constructor(log: Logger, now?: () => number) {
    this.log = log;
    this.told = new Sparingly(LOG_WINDOW_MS, now);
  }

  /** True when it was logged. */
  report({ address, subject, reason }: Refusal): boolean {
    if (!this.told.allows(address)) return false;
    this.log.warn('refused', {
      address,
      subject: (subject ?? 'no certificate').slice(0, MOST_TEXT),
      reason: reason.slice(0, MOST_TEXT),
    });
    return true;
  }
}
