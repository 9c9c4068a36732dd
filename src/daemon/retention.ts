/**
 * Removes audit rows that are older than `audit.retention`, a batch at a time, so that writers never wait long.
 * The database itself audits that it was pruned.
 */
import type { Config } from '../config/schema.ts';
import { pruneBatch } from '../db/audit-log.ts';
import type { Database } from '../db/database.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Complaint } from './complaint.ts';
import { type Loop, startLoop } from './loop.ts';

const BATCH = 10_000;
/** The wait after a start or a run that PostgreSQL's absence prevented. */
const SOON_MS = 10_000;

interface RetentionOptions {
  config: () => Config;
  database: Database;
  log: Logger;
  complaint: Complaint;
  metrics: Metrics;
}

export function startRetention({ config, database, log, complaint, metrics }: RetentionOptions): Loop {
  let done = false;
  const prune = async (): Promise<void> => {
    const { retention } = config().audit;
    done = database.state.kind === 'connected';
    if (retention === 0 || !done) return;
    let total = 0;
    try {
      for (let deleted = BATCH; deleted > 0 && database.state.kind === 'connected'; total += deleted)
        deleted = await pruneBatch(database, retention, BATCH);
      complaint.settled();
    } catch (thrown) {
      done = false;
      complaint.about(thrown);
    }
    if (total === 0) return;
    metrics.auditPruned.inc(total);
    log.info('pruned the audit trail', { rows: total });
  };
  return startLoop(prune, () => (done ? config().audit.prune_interval : SOON_MS));
}
