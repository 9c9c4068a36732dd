/** Fills in the metrics that are read off the daemon when somebody asks for them. */
import type { Metrics } from '../lib/metrics.ts';
import type { Subject } from '../operations/subject.ts';

const NODE_STATUSES = ['unknown', 'healthy', 'degraded', 'unreachable', 'offline'];
const SEVERITIES = ['note', 'warning', 'error'];

export function collectMetrics(metrics: Metrics, subject: Subject, owed: () => number): void {
  let cpuSeconds = 0;
  metrics.onCollect(() => {
    const { database, startedAt, version } = subject;
    metrics.up.set(1);
    metrics.buildInfo.set({ version, bun: Bun.version }, 1);
    metrics.startTime.set(startedAt.getTime() / 1000);
    if (database) {
      metrics.postgresqlConnected.set(database.state.kind === 'connected' ? 1 : 0);
      metrics.postgresqlLatency.set(
        database.state.kind === 'connected' ? database.state.latencyMs / 1000 : 0,
      );
    } else {
      // A witness: one that says 0 would look like a node whose PostgreSQL is away.
      metrics.postgresqlConnected.remove();
      metrics.postgresqlLatency.remove();
    }
    const members = subject.cluster.members();
    const statuses = members.map(({ node_id: id }) => subject.statusOf(id));
    for (const status of NODE_STATUSES)
      metrics.nodes.set({ status }, statuses.filter((one) => one === status).length);
    const issues = subject.issues();
    for (const severity of SEVERITIES)
      metrics.issues.set({ severity }, issues.filter((issue) => issue.severity === severity).length);
    const { node_id, term } = subject.coordinator();
    metrics.coordinator.set(node_id === subject.config().node_id ? 1 : 0);
    metrics.term.set(term ?? 0);
    const expires = subject.doors().grpc.certificateExpires;
    metrics.certificateExpiry.set(expires === undefined ? 0 : expires.getTime() / 1000);
    metrics.peerRoundTrip.reset();
    for (const { member, roundTrip } of subject.cluster.peers())
      if (roundTrip !== undefined) metrics.peerRoundTrip.set({ peer: member.node_id }, roundTrip / 1000);
    metrics.auditBuffered.set(owed());
    metrics.memory.set(process.memoryUsage.rss());
    const { user, system } = process.cpuUsage();
    const seconds = (user + system) / 1e6;
    metrics.cpu.inc(Math.max(0, seconds - cpuSeconds));
    cpuSeconds = seconds;
  });
}
