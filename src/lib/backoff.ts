/** Exponential backoff with jitter: doubles from `first` to `most` milliseconds, each shortened by up to a quarter. */
export class Backoff {
  private readonly random: () => number;
  private attempts = 0;

  constructor(random: () => number = Math.random) {
    this.random = random;
  }

  next(first: number, most: number): number {
    const full = Math.min(first * 2 ** Math.min(this.attempts, 30), most);
    this.attempts += 1;
    return full * (1 - this.random() / 4);
  }

  reset(): void {
    this.attempts = 0;
  }
}
