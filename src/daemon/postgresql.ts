/** All that a daemon does with its PostgreSQL. A witness has none of it. */
import path from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import type { Config } from '../config/schema.ts';
import type { DaemonAction, DaemonEvent } from '../db/audit-log.ts';
import { Database } from '../db/database.ts';
import { startListener } from '../db/listener.ts';
import { targetOf } from '../db/target.ts';
import { SteepError } from '../lib/errors.ts';
import type { RootLogger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { CoordinatorView, Issue } from '../operations/subject.ts';
import { type AuditTrail, startAuditTrail } from './audit-trail.ts';
import { Complaint } from './complaint.ts';
import { EventFeed } from './event-feed.ts';
import type { Loop } from './loop.ts';
import { startMirror } from './mirror.ts';
import { Outbox } from './outbox.ts';
import type { OwnState } from './own-state.ts';
import { RegistryView } from './registry-view.ts';
import { reportDatabase } from './report-database.ts';
import { startRetention } from './retention.ts';
import { requireSoleDaemon } from './sole-daemon.ts';

export interface PostgresqlOptions {
  config: () => Config;
  cluster: Cluster;
  ownState: OwnState;
  coordinator: () => CoordinatorView;
  log: RootLogger;
  metrics: Metrics;
  /** What goes into the audit trail as `daemon.started`. */
  started: { at: Date; details: Record<string, unknown> };
  /** Called when the daemon cannot go on: another one looks after this database. */
  onFatal: (error: SteepError) => void;
}

/** How long a stop waits for a server that does not answer to take what is owed. */
const LAST_WORDS_MS = 2000;

export class Postgresql implements AsyncDisposable {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly feed: EventFeed;
  readonly registry: RegistryView;
  private readonly options: PostgresqlOptions;
  private readonly running = new AsyncDisposableStack();
  private readonly trail: AuditTrail;
  private readonly complaints: Record<'mirror' | 'trail' | 'retention' | 'listener', Complaint>;
  private mirror: Loop | undefined;
  private retention: Loop | undefined;
  private announced = false;

  /** Reads what an earlier run still owes the audit trail; connects to nothing yet. Throws system errors. */
  constructor(options: PostgresqlOptions) {
    const config = options.config();
    const { node_id: nodeId, state_dir: stateDir } = config;
    this.options = options;
    this.database = new Database({ target: targetOf(config), poolMax: config.postgresql.pool_max });
    this.outbox = new Outbox({ file: path.join(stateDir, 'audit-outbox.jsonl'), nodeId });
    this.feed = new EventFeed(this.database, options.log.component('audit'));
    this.registry = new RegistryView(this.database);
    const audit = options.log.component('audit');
    const registry = options.log.component('registry');
    this.complaints = {
      mirror: new Complaint('cannot write steep_repl.nodes', registry, 'error'),
      trail: new Complaint('the audit trail could not be written; it is kept', audit),
      retention: new Complaint('pruning the audit trail was interrupted', audit),
      listener: new Complaint('events cannot be heard', audit),
    };
    this.trail = this.running.use(
      startAuditTrail({
        outbox: this.outbox,
        database: this.database,
        log: audit,
        complaint: this.complaints.trail,
        onWritten: (count) => options.metrics.auditWritten.inc(count),
      }),
    );
  }

  /** Begins to connect, and to do what wants a connection. */
  start(): void {
    const { config, cluster, ownState, coordinator, log, metrics, onFatal } = this.options;
    const { database, running, registry, feed } = this;
    // A daemon that finds its database held by another never was one: it leaves no trace in the audit trail.
    database.subscribe((state) => {
      if (state.kind === 'connected' || (state.kind === 'away' && state.reason !== 'held')) this.announce();
    });
    reportDatabase(
      database,
      log.component('postgresql'),
      metrics,
      (event) => this.trail.add(event),
      config().node_id,
    );
    running.use(requireSoleDaemon(database, onFatal));
    const mirror = running.use(
      startMirror({ cluster, config, database, ownState, coordinator, complaint: this.complaints.mirror }),
    );
    this.mirror = mirror;
    this.retention = running.use(
      startRetention({
        config,
        database,
        metrics,
        log: log.component('audit'),
        complaint: this.complaints.retention,
      }),
    );
    running.use(feed);
    running.use(
      startListener({
        database,
        onNotify: ({ table }) => {
          if (table === 'nodes') void registry.refresh();
          if (table === 'audit_log') feed.look();
        },
        onListening: () => {
          this.complaints.listener.settled();
          void registry.refresh();
          feed.look();
        },
        onFailing: (thrown) => {
          // PostgreSQL is connected: what keeps one more connection out is not told by anybody else.
          const { message, hint } = SteepError.from(thrown);
          const options = { cause: thrown, ...(hint === undefined ? {} : { hint }) };
          this.complaints.listener.about(new SteepError('FAILED', message, options));
        },
      }),
    );
    database.subscribe((state) => {
      if (state.kind === 'connected') mirror.wake();
    });
    database.start();
  }

  /** The registry is not what it was: the table follows. */
  registryChanged(): void {
    this.mirror?.wake();
  }

  /** What cannot be done although PostgreSQL is connected. */
  get issues(): Issue[] {
    if (this.database.state.kind !== 'connected') return [];
    return Object.values(this.complaints).flatMap(({ issues }) => issues);
  }

  /** Writes into the audit trail, now or when PostgreSQL is there. Never throws. */
  audit(action: DaemonAction, event: Partial<DaemonEvent> = {}, at?: Date): void {
    this.trail.add({ target_type: 'daemon', target_id: this.options.config().node_id, action, ...event }, at);
  }

  /** Lets new intervals and a new retention count now, not after the old interval. */
  reconfigured(): void {
    this.mirror?.wake();
    this.retention?.wake();
  }

  /** Records the stop, if the start was recorded, and gives the server a moment to take it. */
  async recordStop(reason: string, uptimeSeconds: number, error: SteepError | undefined): Promise<void> {
    const { state } = this.database;
    // Whoever is stopped in the middle of the first attempt was a daemon, as far as anybody knows.
    if (state.kind === 'connecting') this.announce();
    if (this.announced) {
      if (error) this.audit('daemon.error', { success: false, error_message: error.message });
      this.audit('daemon.stopped', { new_value: { reason, uptime_seconds: uptimeSeconds } });
    }
    await this.trail.flush(LAST_WORDS_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // First: the loops wait for the statements that they have under way, however long those would take.
    await this.database.close();
    await this.running.disposeAsync();
  }

  private announce(): void {
    if (this.announced) return;
    this.announced = true;
    const { at, details } = this.options.started;
    this.audit('daemon.started', { new_value: details }, at);
  }
}
