/** The audit trail of one node, against its tables, its clients and its daemon's log. */
import type postgres from 'postgres';
import type { LogLine } from '../../support/daemon.ts';
import type { Life, SoakNode, World } from '../world.ts';
import type { Writer } from '../writers.ts';

/** What the triggers write; all else is told by the daemon. */
const BY_TRIGGER = `action IN ('node.registered', 'node.updated', 'node.status_changed', 'node.removed',
  'coordinator.elected', 'coordinator.resigned', 'state.updated')`;

export interface TrailCounts {
  rows: number;
  confirmed: number;
  /** Statements whose answer was lost. */
  unknown: number;
  rolledBack: number;
  events: number;
}

export async function checkTrail(
  world: World,
  node: SoakNode,
  writer: Writer,
  owed: readonly OwedEvent[],
): Promise<TrailCounts> {
  await using sql = node.server.client();
  await checkChains(world, node, sql);
  await checkMarks(world, node, writer, sql);
  const [count] = await sql<{ rows: number }[]>`SELECT count(*)::int AS rows FROM steep_repl.audit_log`;
  return {
    rows: count!.rows,
    confirmed: writer.confirmed.size,
    unknown: writer.unknown,
    rolledBack: writer.rolledBack.size,
    events: await checkEvents(world, node, sql, owed),
  };
}

/** Of each row, every change begins with what the change before it left, and the last one left what is there. */
async function checkChains(world: World, { id }: SoakNode, sql: postgres.Sql): Promise<void> {
  const broken = await sql.unsafe(`
    WITH changes AS (
      SELECT id, action, target_type, target_id,
             old_value - 'last_seen' AS before, new_value - 'last_seen' AS after,
             lag(new_value - 'last_seen') OVER w AS left_by, lead(id) OVER w IS NULL AS last
        FROM steep_repl.audit_log WHERE ${BY_TRIGGER}
      WINDOW w AS (PARTITION BY target_type, target_id ORDER BY id)
    ), present AS (
      SELECT 'node' AS target_type, node_id AS target_id, to_jsonb(n) - 'last_seen' AS value FROM steep_repl.nodes n
      UNION ALL SELECT 'state', key, to_jsonb(s) FROM steep_repl.coordinator_state s
    )
    SELECT id, target_id, 'does not begin where the last change ended' AS wrong FROM changes
     WHERE before IS DISTINCT FROM left_by
    UNION ALL
    SELECT id, target_id, 'changes nothing' FROM changes WHERE before = after
    UNION ALL
    SELECT c.id, coalesce(c.target_id, p.target_id), 'the table has something else'
      FROM (SELECT * FROM changes WHERE last) c
      FULL JOIN present p ON p.target_type = c.target_type AND p.target_id = c.target_id
     WHERE c.after IS DISTINCT FROM p.value
    LIMIT 20`);
  for (const row of broken)
    world.found('changes', `${id}: row ${row['id']} of the trail, ${row['target_id']}: ${row['wrong']}`);
}

/** Each mark of a client stands in the trail as often as it should. */
async function checkMarks(world: World, { id }: SoakNode, writer: Writer, sql: postgres.Sql): Promise<void> {
  const rows = await sql<{ mark: string; times: number }[]>`
    SELECT mark, count(*)::int AS times
      FROM (SELECT CASE target_type WHEN 'state' THEN new_value ->> 'value'
                        ELSE coalesce(nullif(new_value ->> 'grpc_host', old_value ->> 'grpc_host'),
                                      new_value ->> 'node_name') END AS mark
              FROM steep_repl.audit_log WHERE target_id LIKE 'soak%') marks
     GROUP BY mark`;
  const times = new Map(rows.map((row) => [row.mark, row.times]));
  const wrong = (mark: string, text: string): void => world.found('kept', `${id}: change ${mark} ${text}`);
  for (const mark of writer.confirmed) {
    const n = times.get(mark) ?? 0;
    if (n !== 1) wrong(mark, `was confirmed and is ${n} times in the trail`);
  }
  for (const mark of writer.rolledBack)
    if (times.has(mark)) wrong(mark, 'was rolled back and is in the trail');
}

export interface OwedEvent {
  event_id: string;
  action: string;
  occurred_at: string;
  success?: boolean;
  new_value?: Record<string, unknown>;
}

interface Told {
  action: string;
  at: number;
  success: boolean;
  value: Record<string, unknown>;
}

/** What each life of the daemon logged and must have told the trail. Returns how many events the daemon told. */
async function checkEvents(
  world: World,
  node: SoakNode,
  sql: postgres.Sql,
  owed: readonly OwedEvent[],
): Promise<number> {
  const rows = await sql<
    { action: string; at: Date; success: boolean; new_value: Record<string, unknown> }[]
  >`
    SELECT action, occurred_at AS at, success, new_value FROM steep_repl.audit_log
     WHERE target_id = ${node.id} AND new_value ? 'event_id'`;
  const told: Told[] = [
    ...rows.map(({ at, new_value: value, ...row }) => ({ ...row, at: at.getTime(), value })),
    ...owed.map(({ action, occurred_at, success = true, new_value: value = {} }) => ({
      action,
      at: Date.parse(occurred_at),
      success,
      value,
    })),
  ];
  for (const [index, life] of node.lives.entries()) {
    const until = node.lives[index + 1]?.from ?? Infinity;
    compare(
      world,
      node,
      life,
      told.filter(({ at }) => at >= life.from && at < until),
    );
  }
  return told.length;
}

function compare(world: World, node: SoakNode, life: Life, told: Told[]): void {
  const { lines } = life.daemon;
  // What could not be put on a full disk is lost when the daemon dies before PostgreSQL took it; it has said so.
  const excused = lines
    .filter(({ msg }) => msg === 'an audit event could not be written to state_dir')
    .map(({ event }) => (event as { action: string }).action);
  const spared = (action: string): number =>
    life.ended === 'killed' ? excused.filter((one) => one === action).length : 0;
  for (const [action, logged] of Object.entries(expected(life, lines))) {
    const n = told.filter((one) => `${one.action}${one.success ? '' : ' failed'}` === action).length;
    if (n > logged || n < logged - spared(action.split(' ')[0] ?? ''))
      world.found(
        'events',
        `${node.id}, pid ${life.daemon.pid}, from ${world.clock(life.from)}: ${logged} × ${action} by its log, ${n} in the trail`,
      );
  }
}

/** How often each event must be there, by the log. */
function expected(life: Life, lines: LogLine[]): Record<string, number> {
  const count = (msg: string): number => lines.filter((line) => line.msg === msg).length;
  const seen = lines.some(
    ({ msg, reason }) =>
      msg === 'connected to PostgreSQL' || (msg === 'PostgreSQL cannot be used' && reason !== 'held'),
  );
  const lost = lines.findIndex(({ msg }) => msg === 'lost PostgreSQL');
  const restored =
    lost < 0 ? 0 : lines.slice(lost).filter(({ msg }) => msg === 'connected to PostgreSQL').length;
  return {
    ...(seen || life.ended !== 'killed' ? { 'daemon.started': 1 } : {}),
    'daemon.stopped': life.ended === 'stopped' ? 1 : 0,
    'postgresql.lost failed': count('lost PostgreSQL'),
    'postgresql.restored': restored,
    'daemon.reloaded': count('configuration reloaded'),
    'daemon.reloaded failed': count('configuration not reloaded; the running one stays in force'),
    'certificate.changed': count('certificate changed'),
    'daemon.error failed': 0,
    'audit.overflowed failed': 0,
  };
}
