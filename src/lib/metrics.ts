/** Every metric by its name, in one place; docs/metrics.md lists them. The daemon fills in values when they are read. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export type Door = 'ipc' | 'http' | 'rpc';

const LATENCIES = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

const FRESH_MS = 100;

export class Metrics {
  private readonly registry = new Registry();
  private readonly collectors: (() => void)[] = [];
  private latest: { at: number; text: Promise<string> } | undefined;

  readonly up = this.gauge('up', 'Always 1: the daemon answers');
  readonly buildInfo = this.gauge('build_info', 'Always 1; what runs', ['version', 'bun']);
  readonly startTime = this.gauge('start_time_seconds', 'When the daemon started, seconds since 1970');
  readonly postgresqlConnected = this.gauge('postgresql_connected', '1 while PostgreSQL is connected');
  readonly postgresqlLatency = this.gauge('postgresql_latency_seconds', 'Round trip of the last probe');
  readonly postgresqlReconnects = this.counter('postgresql_reconnects_total', 'Connections after a loss');
  readonly nodes = this.gauge('nodes', 'Nodes of the registry by status', ['status']);
  readonly coordinator = this.gauge('coordinator', '1 while this node is the coordinator');
  readonly term = this.gauge('coordinator_term', 'Term of the coordinator, 0 when there is none');
  readonly elections = this.counter('elections_total', 'Times this node stood for election');
  readonly heartbeatFailures = this.counter(
    'heartbeat_failures_total',
    'Heartbeats that a peer did not answer',
  );
  readonly certificateExpiry = this.gauge(
    'certificate_expiry_seconds',
    'When our certificate expires, seconds since 1970; 0 without one',
  );
  readonly peerRoundTrip = this.gauge('peer_round_trip_seconds', 'Round trip of the last heartbeat', [
    'peer',
  ]);
  readonly issues = this.gauge('issues', 'Issues that status shows, by severity', ['severity']);
  readonly requests = this.counter('requests_total', 'Requests answered', ['door', 'method', 'code']);
  readonly durations = this.histogram('request_duration_seconds', 'Time to answer', ['door', 'method']);
  readonly auditWritten = this.counter('audit_events_written_total', "The daemon's own audit events stored");
  readonly auditBuffered = this.gauge('audit_events_buffered', 'Audit events that wait for PostgreSQL');
  readonly auditPruned = this.counter('audit_rows_pruned_total', 'Audit rows removed by retention');
  readonly memory = this.gauge('process_resident_memory_bytes', 'Memory of the process');
  readonly cpu = this.counter('process_cpu_seconds_total', 'Processor time of the process');

  /** Called before each reading: sets what is only known then. */
  onCollect(collector: () => void): void {
    this.collectors.push(collector);
  }

  /** Counts one answer. `code` is `ok` or an error code, `method` one of a known few. */
  observe(door: Door, method: string, code: string, seconds: number): void {
    this.requests.inc({ door, method, code });
    this.durations.observe({ door, method }, seconds);
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** The Prometheus text format. Made at most ten times a second, however many ask for it. */
  async read(): Promise<string> {
    const now = performance.now();
    if (this.latest === undefined || now - this.latest.at >= FRESH_MS) {
      for (const collector of this.collectors) collector();
      this.latest = { at: now, text: this.registry.metrics() };
    }
    return await this.latest.text;
  }

  private gauge<Label extends string>(name: string, help: string, labelNames: Label[] = []): Gauge<Label> {
    return new Gauge({ name: `steep_repl_${name}`, help, labelNames, registers: [this.registry] });
  }

  private counter<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Counter<Label> {
    return new Counter({ name: `steep_repl_${name}`, help, labelNames, registers: [this.registry] });
  }

  private histogram<Label extends string>(name: string, help: string, labelNames: Label[]): Histogram<Label> {
    const options = { labelNames, buckets: LATENCIES, registers: [this.registry] };
    return new Histogram({ name: `steep_repl_${name}`, help, ...options });
  }
}
