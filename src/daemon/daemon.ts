/**
 * The daemon: the place where its parts are put together. Each part that was started is put on a stack, so that
 * a start that fails half-way cleans up after itself, and a stop is the start in reverse.
 */
import { randomUUID } from 'node:crypto';
import { Cluster } from '../cluster/cluster.ts';
import { Durable } from '../cluster/state.ts';
import type { LoadedConfig } from '../config/load.ts';
import { SteepError } from '../lib/errors.ts';
import type { RootLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { wakingClock } from '../lib/waking-clock.ts';
import type { Phase, ReloadOutcome, Subject } from '../operations/subject.ts';
import type { Env, Platform, ServiceHost } from '../platform/index.ts';
import { clusterIssues } from './cluster-issues.ts';
import { clusterStateFile } from './cluster-state.ts';
import { collectMetrics } from './collect-metrics.ts';
import type { RunningCoordination } from './coordination.ts';
import { coordinationFor } from './etcd-coordination.ts';
import { CLOSED, type Door, openHttp, openIpc } from './doors.ts';
import { lockInstance, prepareStateDir, writePidFile } from './instance.ts';
import { issuesOf } from './issues.ts';
import { Joining } from './joining.ts';
import { factsOf, foundsCluster, rankOf, rulesOf } from './own-facts.ts';
import { OwnState } from './own-state.ts';
import { Peers } from './peers.ts';
import { Postgresql } from './postgresql.ts';
import { mergeReloaded } from './reload.ts';
import { remoteHealth } from './remote-health.ts';
import { reportElection } from './report-election.ts';
import { RpcDoor } from './rpc-door.ts';
import { ServiceReport } from './service-report.ts';
import { StateDisk } from './state-disk.ts';
import { watchStatuses } from './status-changes.ts';

export interface DaemonOptions {
  loaded: LoadedConfig;
  /** Reads the configuration again, for a reload. Throws CONFIG_INVALID. */
  load: () => LoadedConfig;
  log: RootLogger;
  platform: Platform;
  env: Env;
  version: string;
  /** The service manager that started this process; undefined: nobody watches. */
  host?: ServiceHost | undefined;
}

export interface Daemon {
  /** Rejects when the daemon cannot go on, with the reason; never resolves. */
  readonly failed: Promise<never>;
  /** Reads the configuration again. Throws CONFIG_INVALID; the running one then stays in force. */
  reload(): ReloadOutcome;
  /** Stops everything in reverse order; `reason` is recorded. */
  stop(reason: string, error?: SteepError): Promise<void>;
}

/** After the longest promise that a start has to wait out: until a coordinator can be expected. */
const START_MS = 5000;
/** Between looks whether a state_dir that took no write takes one by now. */
const DISK_MS = 5000;

/**
 * Starts a daemon; resolves when it is ready, whatever the state of PostgreSQL. Throws CONFLICT when another
 * daemon has the `state_dir` or an address, FAILED or PERMISSION_DENIED when a folder or port cannot be had.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { loaded, load, log, platform, env, version, host } = options;
  const own = log.component('daemon');
  const startedAt = new Date();
  const began = performance.now();
  const uptime = (): number => performance.now() - began; // the wall's clock may be set
  const fatal = Promise.withResolvers<never>();
  fatal.promise.catch(() => {}); // it may fail before anybody listens
  let { config } = loaded;
  let phase: Phase = 'starting';
  let pendingKeys: string[] = [];
  let reloadError: string | undefined;
  const doors: Record<'ipc' | 'http', Door | undefined> = { ipc: undefined, http: undefined };
  const { node_id: nodeId, state_dir: stateDir } = config;

  await using stack = new AsyncDisposableStack();
  prepareStateDir(stateDir, platform);
  stack.use(lockInstance(stateDir, platform));
  stack.use(writePidFile({ nodeId, stateDir, scope: loaded.scope }, platform, env));

  const stateFile = clusterStateFile(stateDir);
  const stateDisk = new StateDisk(stateFile, log.component('cluster'));
  const durable = new Durable(stateFile.read(), stateDisk.write);
  const cluster = new Cluster({
    self: factsOf(config),
    votes: config.election.enabled,
    state: durable,
    now: () => performance.now(),
    // watchStatuses looks more often.
    awake: wakingClock(
      () => performance.now(),
      () => config.heartbeat.degraded_after / 2,
    ),
    thresholds: () => ({
      degradedAfter: config.heartbeat.degraded_after,
      unreachableAfter: config.heartbeat.unreachable_after,
    }),
    allow: config.cluster.allow,
  });
  cluster.save();
  // What joins and what founds begins when it is known whether the state can be believed.
  const ownState = new OwnState({
    cluster,
    state: durable,
    onChecked(lost) {
      if (cluster.id === null && lost === undefined && foundsCluster(config)) cluster.found(randomUUID());
      if (cluster.id === null) joining.keepTrying([...config.cluster.join, ...(lost?.addresses ?? [])]);
      coordination.trust();
      peers.follow();
    },
    log: log.component('cluster'),
  });

  const metrics = new Metrics();
  const details = { version, pid: process.pid, config: loaded.file };
  const postgresql =
    config.role === 'witness'
      ? undefined
      : new Postgresql({
          config: () => config,
          cluster,
          ownState,
          coordinator: () => subject.coordinator(),
          log,
          metrics,
          started: { at: startedAt, details },
          onFatal: fatal.reject,
        });
  if (postgresql) stack.use(postgresql); // it runs from now on, also if a door cannot be opened

  const reload = (actingFor: string | null): ReloadOutcome => {
    const by = actingFor === null ? {} : { acting_for: actingFor };
    report?.reloading();
    try {
      const { config: fresh, applied, pending } = mergeReloaded(config, load().config);
      rpc.reload();
      config = fresh;
      pendingKeys = pending;
      reloadError = undefined;
      postgresql?.reconfigured();
      if (applied.includes('log.level')) log.setLevel(config.log.level);
      own.info('configuration reloaded', { changed: applied });
      if (pending.length > 0) own.warn('these changes take effect at the next start', { keys: pending });
      postgresql?.audit('daemon.reloaded', {
        ...by,
        new_value: { changed: applied, at_next_start: pending },
      });
      if (applied.length > 0) postgresql?.audit('config.changed', { ...by, new_value: { keys: applied } });
      return { changed: applied, at_next_start: pending };
    } catch (thrown) {
      const error = SteepError.from(thrown);
      reloadError = error.message;
      own.error('configuration not reloaded; the running one stays in force', { error: error.message });
      postgresql?.audit('daemon.reloaded', { ...by, success: false, error_message: error.message });
      throw error;
    } finally {
      report?.reloaded();
    }
  };

  const subject: Subject = {
    version,
    startedAt,
    uptime,
    phase: () => phase,
    config: () => config,
    database: postgresql?.database,
    cluster,
    doors: () => ({ ipc: doors.ipc?.status ?? CLOSED, http: doors.http?.status ?? CLOSED, grpc: rpc.status }),
    issues: () => [
      ...issuesOf({ database: postgresql?.database, pendingKeys, reloadError }),
      ...(postgresql?.issues ?? []),
      ...stateDisk.issues,
      ...clusterIssues({
        cluster,
        hasCoordinator: coordination.coordinator !== undefined,
        uptime: uptime(),
        startTime: START_MS + durable.current.longest_promise,
        twoNode: config.election.two_node,
        store: config.election.store,
        founds: foundsCluster(config) && !ownState.lost,
        lost: ownState.lost,
      }),
      ...(coordination.issues?.() ?? []),
      ...rpc.issues(),
      ...(doors.ipc?.issues ?? []),
      ...(doors.http?.issues ?? []),
    ],
    knownNodes: () => postgresql?.registry.nodes,
    statusOf(id) {
      if (cluster.listed(id)?.state === 'offline') return 'offline';
      if (id === nodeId) return 'healthy';
      return cluster.peer(id)?.status ?? 'unknown';
    },
    join: (address) => joining.join(address),
    remoteHealth: (address) => remoteHealth(address, rpc.material, rulesOf(config)),
    registryChanged() {
      postgresql?.registryChanged();
      peers.follow();
    },
    auditRefusal: (name, address, reason) =>
      postgresql?.audit('rpc.refused', {
        client_ip: address,
        new_value: { caller: name },
        success: false,
        error_message: reason,
      }),
    coordinator() {
      const seen = coordination.coordinator;
      return {
        node_id: seen?.node_id ?? null,
        term: seen?.term ?? null,
        // Only few ask for it; whether there is one, every request does.
        get since() {
          return seen === undefined ? null : new Date(seen.since).toISOString();
        },
      };
    },
    get coordination() {
      return coordination;
    },
    reload,
    onAuditEntry: (listener) => postgresql?.feed.subscribe(listener) ?? (() => {}),
  };
  const report = host && stack.use(new ServiceReport(host, subject));
  collectMetrics(metrics, subject, () => postgresql?.outbox.size ?? 0);

  const rpc = new RpcDoor({
    config: () => config,
    subject,
    platform,
    metrics,
    log,
    onMaterial: (fresh, before) => {
      peers.follow();
      if (before)
        postgresql?.audit('certificate.changed', {
          old_value: { serial: before.certificate.serial },
          new_value: { serial: fresh.certificate.serial },
        });
    },
  });
  const peers = new Peers({
    cluster,
    config: () => config,
    material: () => rpc.material,
    postgresql: () => {
      const state = postgresql?.database.state;
      return {
        connected: state === undefined || state.kind === 'connected',
        version: state?.kind === 'connected' ? state.version : '',
      };
    },
    onLearned: () => postgresql?.registryChanged(),
    onFailure: () => metrics.heartbeatFailures.inc(),
    log: log.component('cluster'),
  });
  const joining = new Joining({
    cluster,
    peers,
    config: () => config,
    beforeAdopting: () => coordination.leave(),
    onLearned: () => postgresql?.registryChanged(),
    log: log.component('cluster'),
  });
  const coordination: RunningCoordination = coordinationFor({
    cluster,
    state: durable,
    config: () => config,
    standing: () => ({
      healthy: postgresql?.database.state.kind === 'connected',
      // Only who is about to stand wants to know.
      get rank() {
        return rankOf(cluster);
      },
    }),
    platform,
    clientOf: (id) => peers.clientOf(id),
    dial: (id) => peers.dial(id),
    onEvent: reportElection({
      log: log.component('election'),
      metrics,
      onList() {
        cluster.noteShutOut(false);
        cluster.forgetStrangers();
        peers.follow();
      },
      onChange: () => postgresql?.registryChanged(),
    }),
    log: log.component('election'),
  });

  const doorOptions = { config, scope: loaded.scope, subject, platform, env, metrics, log };
  doors.ipc = stack.use(await openIpc(doorOptions));
  doors.http = stack.use(openHttp(doorOptions));
  stack.use(rpc);
  await rpc.open();
  stack.use(peers);
  stack.use(joining);
  stack.use(
    watchStatuses({
      cluster,
      pause: () => config.heartbeat.interval / 4,
      onChange: () => postgresql?.registryChanged(),
      log: log.component('cluster'),
    }),
  );
  stack.use(coordination);
  const lookAtDisk = setInterval(() => stateDisk.look(() => durable.update({})), DISK_MS);
  stack.defer(() => clearInterval(lookAtDisk));
  peers.follow();
  if (postgresql) postgresql.start();
  else ownState.believe();
  coordination.start();
  phase = 'running';
  if (config.election.two_node === 'promote')
    own.warn('election.two_node is promote: two coordinators are possible', {
      hint: 'add a witness, then set it to safe',
    });
  report?.ready();
  own.info('ready', { version, node_id: nodeId, pid: process.pid, config: loaded.file, state_dir: stateDir });

  const running = stack.move();
  return {
    failed: fatal.promise,
    reload: () => reload(null),
    async stop(reason, error) {
      phase = 'stopping';
      await coordination.resign('it stops'); // first, so that the others need not wait for the lease to run out
      report?.stopping();
      await postgresql?.recordStop(reason, Math.round(uptime() / 1000), error);
      await postgresql?.[Symbol.asyncDispose](); // before the doors: it was started after them
      await running.disposeAsync();
    },
  };
}
