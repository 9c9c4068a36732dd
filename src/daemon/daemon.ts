/**
 * The daemon: the only place that wires the parts together. Each part that was started is put on a stack, so
 * that a start that fails half-way cleans up after itself, and a stop is the start in reverse.
 */
import path from 'node:path';
import type { LoadedConfig } from '../config/load.ts';
import type { DaemonAction, DaemonEvent } from '../db/audit-log.ts';
import { Database } from '../db/database.ts';
import { targetOf } from '../db/target.ts';
import { SteepError } from '../lib/errors.ts';
import type { RootLogger } from '../lib/log.ts';
import type { Env, Platform } from '../platform/index.ts';
import { startAuditTrail } from './audit-trail.ts';
import { lockInstance, prepareStateDir, writePidFile } from './instance.ts';
import { Outbox } from './outbox.ts';
import { startOwnNode } from './own-node.ts';
import { mergeReloaded } from './reload.ts';
import { reportDatabase } from './report-database.ts';
import { startRetention } from './retention.ts';
import { requireSoleDaemon } from './sole-daemon.ts';

export interface DaemonOptions {
  loaded: LoadedConfig;
  /** Reads the configuration again, for a reload. Throws CONFIG_INVALID. */
  load: () => LoadedConfig;
  log: RootLogger;
  platform: Platform;
  env: Env;
  version: string;
}

export interface Daemon {
  /** Rejects when the daemon cannot go on, with the reason; never resolves. */
  readonly failed: Promise<never>;
  /** Reads the configuration again. Never throws: a file that cannot be used changes nothing, and says so. */
  reload(): void;
  /** Stops everything in reverse order; `reason` is recorded. */
  stop(reason: string, error?: SteepError): Promise<void>;
}

/** How long a stop waits for a server that does not answer to take what is owed. */
const LAST_WORDS_MS = 2000;

/**
 * Starts a daemon; resolves when it is ready, whatever the state of PostgreSQL. Throws CONFLICT when another
 * daemon has the `state_dir`, FAILED or PERMISSION_DENIED when that folder cannot be used.
 */
export async function startDaemon({
  loaded,
  load,
  log,
  platform,
  env,
  version,
}: DaemonOptions): Promise<Daemon> {
  const startedAt = new Date();
  let { config } = loaded;
  const { node_id: nodeId, state_dir: stateDir } = config;
  const fatal = Promise.withResolvers<never>();
  fatal.promise.catch(() => {}); // it may fail before anybody listens

  await using stack = new AsyncDisposableStack();
  prepareStateDir(stateDir, platform);
  stack.use(lockInstance(stateDir, platform));
  stack.use(writePidFile({ nodeId, stateDir, scope: loaded.scope }, platform, env));

  const database = new Database({ target: targetOf(config), poolMax: config.postgresql.pool_max });
  stack.defer(() => database.close());
  const outbox = new Outbox({ file: path.join(stateDir, 'audit-outbox.jsonl'), nodeId });
  const trail = stack.use(startAuditTrail({ outbox, database, log: log.component('audit') }));
  const audit = (action: DaemonAction, event: Partial<DaemonEvent> = {}, at?: Date): void =>
    trail.add({ target_type: 'daemon', target_id: nodeId, action, ...event }, at);

  // A daemon that finds its database held by another never was one: it leaves no trace in the audit trail.
  let announced = false;
  const announce = (): void => {
    if (announced) return;
    announced = true;
    audit('daemon.started', { new_value: { version, pid: process.pid, config: loaded.file } }, startedAt);
  };
  database.subscribe((state) => {
    if (state.kind === 'connected' || (state.kind === 'away' && state.reason !== 'held')) announce();
  });
  reportDatabase(database, log.component('postgresql'), trail.add, nodeId);
  stack.use(requireSoleDaemon(database, fatal.reject));

  const ownNode = stack.use(startOwnNode({ config: () => config, database, log: log.component('registry') }));
  database.subscribe((state) => {
    if (state.kind === 'connected') ownNode.wake();
  });
  stack.use(
    startRetention({ config: () => config, database, log: log.component('audit'), audit: trail.add }),
  );
  database.start();
  log
    .component('daemon')
    .info('ready', { version, node_id: nodeId, pid: process.pid, config: loaded.file, state_dir: stateDir });

  const running = stack.move();
  return {
    failed: fatal.promise,
    reload() {
      const own = log.component('daemon');
      try {
        const { config: fresh, applied, pending } = mergeReloaded(config, load().config);
        config = fresh;
        if (applied.includes('log.level')) log.setLevel(config.log.level);
        own.info('configuration reloaded', { changed: applied });
        if (pending.length > 0) own.warn('these changes take effect at the next start', { keys: pending });
        audit('daemon.reloaded', { new_value: { changed: applied, at_next_start: pending } });
        if (applied.length > 0) audit('config.changed', { new_value: { keys: applied } });
      } catch (thrown) {
        const { message } = SteepError.from(thrown);
        own.error('configuration not reloaded; the running one stays in force', { error: message });
        audit('daemon.reloaded', { success: false, error_message: message });
      }
    },
    async stop(reason, error) {
      const uptime_seconds = Math.round((Date.now() - startedAt.getTime()) / 1000);
      if (error && announced) audit('daemon.error', { success: false, error_message: error.message });
      if (announced) audit('daemon.stopped', { new_value: { reason, uptime_seconds } });
      await trail.flush(LAST_WORDS_MS);
      await running.disposeAsync();
    },
  };
}
