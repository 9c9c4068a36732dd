/** Tells the log and the audit trail about each change of the connection to PostgreSQL, once. */
import type { DaemonEvent } from '../db/audit-log.ts';
import type { Database } from '../db/database.ts';
import { describeTarget } from '../db/target.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';

export function reportDatabase(
  database: Database,
  log: Logger,
  metrics: Metrics,
  audit: (event: DaemonEvent) => void,
  nodeId: string,
): void {
  const server = describeTarget(database.target);
  let lostAt: number | undefined; // by a clock that nobody sets
  database.subscribe((state, before) => {
    if (state.kind === 'connected') {
      const fields = { server, version: state.version, latency_ms: Math.round(state.latencyMs * 10) / 10 };
      log.info('connected to PostgreSQL', fields);
      if (lostAt === undefined) return;
      metrics.postgresqlReconnects.inc();
      const away_seconds = Math.round(performance.now() - lostAt) / 1000;
      audit({
        action: 'postgresql.restored',
        target_type: 'daemon',
        target_id: nodeId,
        new_value: { server, away_seconds },
      });
      lostAt = undefined;
    } else if (state.kind === 'away') {
      const { reason, message, hint } = state;
      log.warn(before.kind === 'connected' ? 'lost PostgreSQL' : 'PostgreSQL cannot be used', {
        server,
        reason,
        error: message,
        hint,
      });
      if (before.kind !== 'connected') return;
      lostAt = performance.now();
      audit({
        action: 'postgresql.lost',
        target_type: 'daemon',
        target_id: nodeId,
        new_value: { server, reason },
        success: false,
        error_message: message,
      });
    }
  });
}
