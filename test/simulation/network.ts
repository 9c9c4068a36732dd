/** Loses, doubles, delays and cuts. */
import type { Agenda } from './heap.ts';
import type { SimNode } from './node.ts';
import type { Random } from './random.ts';

export type Step = () => void;

export class Network {
  /** `a>b`: what a says does not reach b. */
  readonly cut = new Set<string>();
  loss = 0;
  /** Milliseconds. */
  jitter = 5;
  private troubled = true;
  private slow = false;
  private readonly lateness: number;
  /** How often a list does not come along with its message. */
  private readonly bareness: number;
  private readonly random: Random;
  private readonly agenda: Agenda<Step>;
  private readonly now: () => number;
  private readonly mended: number;

  /** `mended`: when the trouble is over. */
  constructor(random: Random, agenda: Agenda<Step>, now: () => number, mended: number) {
    this.random = random;
    this.agenda = agenda;
    this.now = now;
    this.mended = mended;
    this.lateness = random.of([0, 0.02, 0.1]);
    this.bareness = random.of([0, 0, 0.5]);
  }

  mend(): void {
    this.troubled = false;
    this.cut.clear();
    this.loss = 0;
    this.jitter = 5;
  }

  /** Nothing may rest on a list that came along: what a node acknowledges is all that counts. */
  bare(): boolean {
    return this.troubled && this.bareness > 0 && this.random.chance(this.bareness);
  }

  /** What is said meanwhile arrives when it is of no use any more. */
  overtaken(saying: () => void): void {
    this.slow = true;
    try {
      saying();
    } finally {
      this.slow = false;
    }
  }

  /** Once, twice or never; at once or late. */
  carry(from: SimNode, to: SimNode, delay: number, arrive: Step): void {
    const copies = this.random.chance(this.loss) ? 0 : this.random.chance(this.loss / 2) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const late = this.troubled && this.random.chance(this.slow ? 0.7 : this.lateness);
      const at = this.now() + Math.max(0, delay) + this.random.between(0.2, this.jitter);
      this.agenda.put(late ? this.troubledUntil(at + this.random.between(0, 8000)) : at, () =>
        this.deliver(from, to, arrive),
      );
    }
  }

  private deliver(from: SimNode, to: SimNode, arrive: Step): void {
    if (this.cut.has(`${from.id}>${to.id}`)) return;
    to.wake();
    if (this.now() < to.awayUntil)
      this.agenda.put(this.troubledUntil(to.awayUntil), () => this.deliver(from, to, arrive));
    else if (to.process) arrive();
  }

  /** Nothing arrives long after everything was mended: that would be trouble again. */
  private troubledUntil(at: number): number {
    return this.troubled ? Math.min(at, this.mended) : at;
  }
}
