/** What the service manager hears of the daemon: that it is ready, that its event loop lives, and how it is. */
import { describeTarget } from '../db/target.ts';
import type { Subject } from '../operations/subject.ts';
import type { ServiceHost } from '../platform/index.ts';

const REPORT_MS = 1000;

export class ServiceReport implements Disposable {
  private readonly host: ServiceHost;
  private readonly subject: Subject;
  private readonly timers: Timer[] = [];
  private phase: 'starting' | 'running' | 'stopping' = 'starting';
  private told = '';

  constructor(host: ServiceHost, subject: Subject) {
    this.host = host;
    this.subject = subject;
  }

  ready(): void {
    this.phase = 'running';
    this.host.ready();
    this.report();
    this.timers.push(setInterval(() => this.report(), REPORT_MS));
    const { watchdogMs } = this.host;
    if (watchdogMs !== undefined) this.timers.push(setInterval(() => this.host.alive(), watchdogMs));
  }

  /** A reload before the start is over, or during a stop, would tell that it is ready. */
  reloading(): void {
    if (this.phase === 'running') this.host.reloading();
  }

  reloaded(): void {
    if (this.phase === 'running') this.host.ready();
  }

  /** The event loop goes on to be watched: a stop may hang too. */
  stopping(): void {
    this.phase = 'stopping';
    this.host.stopping();
  }

  private report(): void {
    const text = summaryOf(this.subject);
    if (text === this.told || this.phase !== 'running') return;
    this.told = text;
    this.host.status(text);
  }

  [Symbol.dispose](): void {
    for (const timer of this.timers) clearInterval(timer);
  }
}

/** Without what changes by itself every second: the service manager is told of changes only. */
function summaryOf(subject: Subject): string {
  const { database } = subject;
  if (database === undefined) return 'Witness';
  const { state, target } = database;
  const where = describeTarget(target);
  switch (state.kind) {
    case 'connected':
      return `Connected to PostgreSQL ${state.version} at ${where}`;
    case 'away':
      return `PostgreSQL at ${where} cannot be used: ${state.message}`;
    default:
      return `Connecting to PostgreSQL at ${where}`;
  }
}
