/**
 * What `--json` prints and what IPC answers, whole: tests hold real output to it, and docs/output.schema.json is made
 * of it (`npm run docs`).
 */
import { z } from 'zod';
import type { AuditEntry } from '../../src/db/audit-log.ts';
import type { CheckResult } from '../../src/cli/checks.ts';
import type { CoordinatorInfo } from '../../src/operations/coordinator.ts';
import type { Health } from '../../src/operations/health.ts';
import type { ShownNode } from '../../src/operations/nodes.ts';
import type { RemoteHealth } from '../../src/operations/remote-health.ts';
import type { Status } from '../../src/operations/status.ts';

const text = z.string();
const whole = z.int().min(0);
const amount = z.number().min(0);
const port = z.int().min(1).max(65_535);
const time = z.iso.datetime();
const texts = z.array(text);

export const issue = z
  .strictObject({
    severity: z.enum(['note', 'warning', 'error']),
    message: text,
    hint: text.nullable(),
  })
  .meta({ id: 'issue' });

const coordinatorView = {
  node_id: text.nullable(),
  term: whole.nullable(),
  since: time.nullable(),
};

const status = z
  .strictObject({
    state: z.enum(['starting', 'running', 'stopping']),
    pid: whole,
    uptime_seconds: whole,
    start_time: time,
    version: text,
    postgresql: z
      .strictObject({
        connected: z.boolean(),
        version: text.nullable(),
        host: text,
        port,
        database: text,
        latency_ms: amount.nullable(),
        error: text.nullable(),
      })
      .nullable(),
    grpc: z.strictObject({
      enabled: z.boolean(),
      listening: z.boolean(),
      bind: text.nullable(),
      port: port.nullable(),
      tls_enabled: z.boolean(),
      certificate_expires: time.nullable(),
    }),
    ipc: z.strictObject({ listening: z.boolean(), path: text.nullable() }),
    http: z.strictObject({
      enabled: z.boolean(),
      listening: z.boolean(),
      bind: text.nullable(),
      port: port.nullable(),
    }),
    node: z.strictObject({
      node_id: text,
      node_name: text,
      role: z.enum(['node', 'witness']),
      is_coordinator: z.boolean(),
      cluster_size: whole,
    }),
    coordinator: z.strictObject(coordinatorView),
    issues: z.array(issue),
  })
  .meta({ id: 'status' }) satisfies z.ZodType<Status>;

const component = z
  .strictObject({
    healthy: z.boolean(),
    status: text,
    version: text.exactOptional(),
    port: port.exactOptional(),
    latency_ms: amount.exactOptional(),
    error: text.exactOptional(),
  })
  .meta({ id: 'component' });

const health = z
  .strictObject({
    status: z.enum(['healthy', 'degraded', 'unhealthy']),
    components: z.strictObject({
      postgresql: component.exactOptional(),
      grpc: component.exactOptional(),
      ipc: component.exactOptional(),
      http: component.exactOptional(),
    }),
  })
  .meta({ id: 'health' }) satisfies z.ZodType<Health>;

const remoteHealth = z
  .strictObject({
    status: z.enum(['healthy', 'unhealthy', 'unknown']),
    components: z.record(text, z.strictObject({ healthy: z.boolean(), status: text, message: text })),
    node_id: text,
    node_name: text,
    version: text,
    uptime_since: time.nullable(),
    latency_ms: amount,
    certificate: z
      .strictObject({ subject: text, sans: texts, issuer: text, serial: text, not_after: time })
      .nullable(),
  })
  .meta({ id: 'remote_health' }) satisfies z.ZodType<RemoteHealth>;

const shownNode = z
  .strictObject({
    node_id: text,
    node_name: text,
    host: text,
    port,
    priority: z.int().min(1).max(100),
    is_coordinator: z.boolean(),
    last_seen: time.nullable(),
    status: z.enum(['unknown', 'healthy', 'degraded', 'unreachable', 'offline']),
    grpc_host: text.nullable(),
    grpc_port: port.nullable(),
    role: z.enum(['node', 'witness']).nullable(),
    round_trip_ms: amount.nullable(),
    votes: z.boolean(),
  })
  .meta({ id: 'node' }) satisfies z.ZodType<ShownNode>;

const oneNode = z.strictObject({ node: shownNode });
const nodeList = z.strictObject({ nodes: z.array(shownNode), coordinator_id: text.nullable() });

const coordinator = z
  .strictObject({
    ...coordinatorView,
    lease_ms: whole,
    voters: texts,
    reachable_voters: texts,
  })
  .meta({ id: 'coordinator' }) satisfies z.ZodType<CoordinatorInfo>;

const auditEntry = z
  .strictObject({
    id: z.string().regex(/^\d+$/),
    occurred_at: time,
    action: text,
    actor: text,
    target_type: text.nullable(),
    target_id: text.nullable(),
    old_value: z.json(),
    new_value: z.json(),
    client_ip: text.nullable(),
    success: z.boolean(),
    error_message: text.nullable(),
  })
  .meta({ id: 'audit_entry' }) satisfies z.ZodType<AuditEntry>;

const auditPage = z.strictObject({
  entries: z.array(auditEntry),
  total: whole,
  total_capped: z.literal(true).exactOptional(),
  has_more: z.boolean(),
  next_cursor: text.nullable(),
});

const reloaded = z.strictObject({ changed: texts, at_next_start: texts });

const service = z
  .strictObject({
    manager: z.enum(['systemd', 'launchd', 'SCM']),
    scope: z.enum(['system', 'user']),
    installed: z.boolean(),
    enabled: z.boolean(),
    activity: z.enum(['active', 'starting', 'stopping', 'failed', 'inactive']),
    pid: whole.nullable(),
    since: time.nullable(),
    detail: text.nullable(),
  })
  .meta({ id: 'service' });

const check = z
  .strictObject({
    name: text,
    status: z.enum(['ok', 'note', 'warn', 'fail']),
    message: text,
    hint: text.nullable(),
  })
  .meta({ id: 'check' }) satisfies z.ZodType<CheckResult>;
const checks = z.array(check);

const certificateFields = {
  subject: text,
  sans: texts,
  issuer: text,
  serial: text,
  not_before: time,
  not_after: time,
  days_left: z.int(),
  fingerprint: text,
  node_id: text.nullable(),
};
const certificate = z.strictObject(certificateFields).meta({ id: 'certificate' });
const step = z.strictObject({ step: text, content: text.nullable(), changed: z.boolean() });

/** By the words of the command. */
export const commandShapes: Record<string, z.ZodType> = {
  status: z.union([
    status.extend({ service: service.nullable() }),
    z.strictObject({
      state: z.enum(['not running', 'unknown']),
      issues: z.array(issue),
      service: service.nullable(),
    }),
  ]),
  health: z.union([health, remoteHealth]),
  install: z.strictObject({
    manager: service.shape.manager,
    scope: service.shape.scope,
    dry_run: z.boolean(),
    steps: z.array(step),
    warnings: checks,
    advice: texts,
  }),
  uninstall: z.strictObject({ steps: texts, kept: texts }),
  start: service,
  stop: service,
  restart: service,
  logs: z.array(z.strictObject({ time, level: z.enum(['debug', 'info', 'warn', 'error']), text })),
  reload: reloaded.nullable(),
  'init-extension': z.strictObject({
    outcome: z.enum(['created', 'updated', 'unchanged']),
    form: z.enum(['extension', 'schema']),
    version: text,
    server: text,
    files: texts,
    granted: text.nullable(),
  }),
  'nodes list': nodeList,
  'nodes get': oneNode,
  'nodes join': oneNode,
  'nodes remove': oneNode,
  'nodes readmit': oneNode,
  'nodes offline': oneNode,
  'nodes online': oneNode,
  'coordinator show': coordinator,
  'coordinator transfer': coordinator,
  'cluster recover': z.strictObject({ cluster_id: z.uuid(), survivors: texts }),
  audit: z.array(auditEntry),
  'config show': z.strictObject({
    file: text,
    scope: service.shape.scope,
    values: z.array(
      z.strictObject({
        key: text,
        value: z.json(),
        source: z.enum(['file', 'variable', 'default']),
        file: text.exactOptional(),
        line: whole.exactOptional(),
        column: whole.exactOptional(),
        variable: text.exactOptional(),
      }),
    ),
  }),
  'config check': z.strictObject({
    valid: z.boolean(),
    file: text.nullable(),
    problems: z.array(
      z.strictObject({
        file: text.nullable(),
        line: whole.nullable(),
        column: whole.nullable(),
        variable: text.nullable(),
        key: text.nullable(),
        message: text,
        hint: text.nullable(),
      }),
    ),
    checks,
  }),
  'config path': z.strictObject({
    file: text.nullable(),
    places: z.array(
      z.strictObject({ from: text, file: text.nullable(), exists: z.boolean(), used: z.boolean() }),
    ),
  }),
  'config init': z.strictObject({ file: text, node_id: text, backup: text.nullable() }),
  'tls init': z.strictObject({
    ca: z.enum(['made', 'kept']),
    authority: certificate,
    certificate,
    wrote: texts,
  }),
  'tls issue': z.strictObject({ folder: text, wrote: texts, certificate }),
  'tls show': z.strictObject({
    files: z.array(
      z.strictObject({
        file: text,
        kind: z.enum(['certificate', 'key', 'ca', 'ca key', 'crl']),
        present: z.boolean(),
        problem: text.nullable(),
        certificates: z.array(certificate),
        crls: z.array(
          z.strictObject({
            issuer: text.nullable(),
            this_update: time,
            next_update: time.nullable(),
            revoked: whole,
          }),
        ),
      }),
    ),
  }),
  'tls verify': z.strictObject({
    ok: z.boolean(),
    address: text.nullable(),
    checks,
    peer: z
      .strictObject({ ...certificateFields, identity: text, protocol: text, latency_ms: amount })
      .nullable(),
  }),
  doctor: z.strictObject({ checks }),
  version: z.strictObject({ version: text, commit: text, target: text, bun: text, platform: text }),
};

/** By the name of the method. */
export const methodShapes: Record<string, z.ZodType> = {
  'status.get': status,
  'health.check': health,
  'nodes.list': nodeList,
  'nodes.get': oneNode,
  'nodes.join': oneNode,
  'nodes.remove': oneNode,
  'nodes.readmit': oneNode,
  'nodes.set_status': oneNode,
  'health.remote': remoteHealth,
  'coordinator.get': coordinator,
  'coordinator.transfer': coordinator,
  'daemon.reload': reloaded,
  'audit.query': auditPage,
  'events.subscribe': z.strictObject({ subscribed: z.literal(true) }),
};

export const eventShape: z.ZodType = auditEntry;

/** What is wrong with what a command printed with --json; undefined when nothing is. */
export function faultOf(words: string, stdout: string): string | undefined {
  const { error } = commandShapes[words]!.safeParse(JSON.parse(stdout));
  return error && z.prettifyError(error);
}

/** The schemas for those who write programs; later versions add fields, so others than these are allowed there. */
export function outputSchemas(): string {
  const all = z.strictObject({
    commands: z.strictObject(commandShapes),
    methods: z.strictObject(methodShapes),
    event: eventShape,
  });
  const { properties = {}, $defs } = z.toJSONSchema(all, {
    override({ jsonSchema }) {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern; // which says the same at length
    },
  });
  const inside = (name: string): unknown => (properties[name] as { properties: unknown }).properties;
  const document = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    description: 'What the commands of steep-repl print with --json, and what the methods of its IPC answer.',
    commands: inside('commands'),
    methods: inside('methods'),
    event: properties['event'],
    $defs,
  };
  return `${JSON.stringify(document, null, 1)}\n`;
}
