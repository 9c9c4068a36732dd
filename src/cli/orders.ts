/** What the daemon is told to do by whoever runs it: signals of a terminal or a service manager, or controls of the SCM. */
export type Order = { kind: 'reload' } | { kind: 'stop'; reason: string };

/** Keeps orders until somebody asks for the next: none is lost while the daemon starts. */
export class Orders {
  private readonly received: Order[] = [];
  private wake: () => void = () => {};

  give(order: Order): void {
    this.received.push(order);
    this.wake();
  }

  async next(): Promise<Order> {
    for (;;) {
      const order = this.received.shift();
      if (order) return order;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** From now on signals are orders, and do not end the process. */
  takeSignals(): void {
    for (const reason of ['SIGTERM', 'SIGINT'] as const)
      process.on(reason, () => this.give({ kind: 'stop', reason }));
    process.on('SIGHUP', () => this.give({ kind: 'reload' }));
  }
}
