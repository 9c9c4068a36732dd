/** The routes of contract section 10. They show no secrets and no paths of this host. */
import type { AwayReason } from '../db/errors.ts';
import type { Metrics } from '../lib/metrics.ts';
import { healthOf } from '../operations/health.ts';
import { uptimeOf } from '../operations/status.ts';
import type { Subject } from '../operations/subject.ts';

interface RouteContext {
  subject: Subject;
  metrics: Metrics;
}

export interface Reply {
  status: number;
  /** Text as it is, all else as JSON. */
  body: string | object;
  /** Of a text. */
  type?: string;
}

export const routes: Record<string, (context: RouteContext) => Reply | Promise<Reply>> = {
  '/health': ({ subject }) => health(subject),
  '/ready': ({ subject }) => ready(subject),
  '/live': () => ({ status: 200, body: { alive: true } }),
  '/coordinator': ({ subject }) => coordinator(subject),
  '/metrics': async ({ metrics }) => ({
    status: 200,
    body: await metrics.read(),
    type: metrics.contentType,
  }),
};

function health(subject: Subject): Reply {
  const { status, components } = healthOf(subject);
  const { http: _self, ...shown } = components;
  if (shown.postgresql?.error !== undefined)
    shown.postgresql = { ...shown.postgresql, error: whyAway(subject) };
  const { node_id, node_name } = subject.config();
  const body = {
    status,
    components: shown,
    node: { node_id, node_name, is_coordinator: isCoordinator(subject) },
    uptime_seconds: uptimeOf(subject),
    version: subject.version,
  };
  return { status: status === 'unhealthy' ? 503 : 200, body };
}

/** In words of our own: the message that `status` shows may name sockets, files and commands of this host. */
const REASONS: Record<AwayReason, string> = {
  unreachable: 'the server cannot be reached',
  starting: 'the server is starting up or shutting down',
  full: 'the server has no free connection slot',
  refused: 'the server refuses the login',
  tls: 'TLS does not fit the server',
  no_database: 'there is no such database',
  no_rights: 'rights are missing',
  no_extension: 'the extension is not installed',
  schema_too_old: 'the extension must be upgraded',
  schema_too_new: 'steep-repl must be upgraded',
  too_old: 'PostgreSQL 18 or later is required',
  read_only: 'the server is read-only',
  held: 'another daemon looks after this database',
};

function whyAway({ database }: Subject): string {
  return database?.state.kind === 'away' ? REASONS[database.state.reason] : 'not connected yet';
}

function ready(subject: Subject): Reply {
  const reason = notReady(subject);
  return reason === undefined
    ? { status: 200, body: { ready: true } }
    : { status: 503, body: { ready: false, reason } };
}

function notReady(subject: Subject): string | undefined {
  if (subject.phase() !== 'running') return `the daemon is ${subject.phase()}`;
  if (subject.database && subject.database.state.kind !== 'connected')
    return 'postgresql connection not established';
  return undefined;
}

function coordinator(subject: Subject): Reply {
  const { node_id, term } = subject.coordinator();
  const here = isCoordinator(subject);
  return { status: here ? 200 : 503, body: { is_coordinator: here, coordinator_id: node_id, term } };
}

function isCoordinator(subject: Subject): boolean {
  return subject.coordinator().node_id === subject.config().node_id;
}
