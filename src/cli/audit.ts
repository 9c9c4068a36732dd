import type { AuditEntry } from '../db/audit-log.ts';
import type { IpcClient } from '../ipc/client.ts';
import { SteepError } from '../lib/errors.ts';
import type { ParamsOf } from '../operations/index.ts';
import { countFrom, timeFrom } from './amounts.ts';
import { defineCommand } from './command.ts';
import { connectToDaemon, daemonArgs } from './daemon.ts';
import { colour, formatTime } from './format.ts';
import { EXIT, jsonArg, printJson, printLine, printText, terminalWidth } from './output.ts';

const MOST_A_PAGE = 1000;

export const command = defineCommand({
  args: {
    ...daemonArgs,
    action: { type: 'string', description: 'Only these actions, separated by commas', valueHint: 'A,…' },
    actor: {
      type: 'string',
      description: 'Only what these actors did, separated by commas',
      valueHint: 'A,…',
    },
    target: {
      type: 'string',
      description: 'Only this target: node:ID, state:KEY or daemon:ID',
      valueHint: 'T:ID',
    },
    since: {
      type: 'string',
      description: 'From then on: 1h, 2026-01-31, or an RFC 3339 time',
      valueHint: 'T',
    },
    until: { type: 'string', description: 'Before then', valueHint: 'T' },
    failed: { type: 'boolean', description: 'Only what failed' },
    lines: { type: 'string', alias: 'n', default: '50', description: 'How many entries', valueHint: 'N' },
    follow: { type: 'boolean', alias: 'f', description: 'Go on with new entries, until Ctrl-C' },
    json: jsonArg,
  },
  /** Oldest first, like a log. JSON: an array of entries; with -f one entry a line. */
  async run(args) {
    const filter = filterOf(args);
    const count = countFrom(args.lines);
    using client = await connectToDaemon(args);
    if (args.follow) return await follow(client, filter, count, args.json === true);
    const entries = await newest(client, filter, count);
    if (args.json) printJson(entries);
    else entries.forEach(printEntry);
    return EXIT.ok;
  },
});

type Filter = Omit<ParamsOf<'audit.query'>, 'limit' | 'offset' | 'cursor'>;

/** The newest entries that fit, in the order in which they happened. */
async function newest(client: IpcClient, filter: Filter, count: number): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  let cursor: string | undefined;
  while (entries.length < count) {
    const limit = Math.min(count - entries.length, MOST_A_PAGE);
    const page = await client.call('audit.query', {
      ...filter,
      limit,
      ...(cursor === undefined ? {} : { cursor }),
    });
    entries.push(...page.entries);
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  return entries.toReversed();
}

/** Subscribes before it asks, and leaves out what came both ways: no entry is missed or shown twice. */
async function follow(client: IpcClient, filter: Filter, count: number, json: boolean): Promise<number> {
  const shown = new Set<string>();
  const early: AuditEntry[] = [];
  let live = false;
  const print = (entry: AuditEntry): void => (json ? printText(JSON.stringify(entry)) : printEntry(entry));
  const printOnce = (entry: AuditEntry): void => {
    if (shown.has(entry.id)) return;
    shown.add(entry.id);
    print(entry);
  };
  const onEvent = (entry: AuditEntry): void => {
    if (!fits(entry, filter)) return;
    if (live) print(entry);
    else early.push(entry);
  };
  await client.subscribe(
    'events.subscribe',
    filter.action_filter ? { actions: filter.action_filter } : {},
    onEvent,
  );
  for (const entry of await newest(client, filter, count)) printOnce(entry);
  for (const entry of early) printOnce(entry);
  live = true;
  process.on('SIGINT', () => process.exit(EXIT.ok));
  await client.closed;
  throw new SteepError('CANNOT_CONNECT', 'the daemon closed the connection', { hint: 'steep-repl status' });
}

function fits(entry: AuditEntry, filter: Filter): boolean {
  return (
    (filter.actor_filter?.includes(entry.actor) ?? true) &&
    (filter.target_type ?? entry.target_type) === entry.target_type &&
    (filter.target_id ?? entry.target_id) === entry.target_id &&
    (filter.success ?? entry.success) === entry.success &&
    (filter.until === undefined || Date.parse(entry.occurred_at) < Date.parse(filter.until))
  );
}

/** Narrower terminals show an entry on two lines: the first half alone fills one. */
const ONE_LINE = 120;

function printEntry(entry: AuditEntry): void {
  const { occurred_at: time, action, actor, target_type: type, target_id: id, success } = entry;
  const target = type === null ? '-' : `${type}:${id ?? ''}`;
  const details = `${success ? '' : colour('red', 'FAILED ')}${detailsOf(entry)}`;
  const when = [formatTime(time), action.padEnd(20)];
  const lines =
    terminalWidth() < ONE_LINE
      ? [
          [...when, target],
          ['   ', actor, details],
        ]
      : [[...when, actor.padEnd(24), target.padEnd(16), details]];
  for (const line of lines) printLine(line.join('  ').trimEnd());
}

/** What changed: `status: healthy → degraded`; of an event what it carries. */
function detailsOf({ old_value: before, new_value: after, error_message: error }: AuditEntry): string {
  const was = isRecord(before) ? before : {};
  const is = isRecord(after) ? after : {};
  const hidden = new Set(['event_id', 'last_seen', 'node_id']);
  const changes = [...new Set([...Object.keys(was), ...Object.keys(is)])]
    .filter((key) => !hidden.has(key) && !Bun.deepEquals(was[key], is[key]))
    .filter((key) => before !== null || (is[key] !== null && is[key] !== false))
    .map((key) =>
      before !== null && after !== null
        ? `${key}: ${show(was[key])} → ${show(is[key])}`
        : `${key}: ${show(is[key] ?? was[key])}`,
    );
  return [error, ...changes].filter((part) => part !== null).join(', ');
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '-');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface FilterArgs {
  action?: string | undefined;
  actor?: string | undefined;
  target?: string | undefined;
  since?: string | undefined;
  until?: string | undefined;
  failed?: boolean | undefined;
}

function filterOf({ action, actor, target, since, until, failed }: FilterArgs): Filter {
  const filter: Filter = {};
  if (action !== undefined) filter.action_filter = action.split(',');
  if (actor !== undefined) filter.actor_filter = actor.split(',');
  if (since !== undefined) filter.since = timeFrom('--since', since).toISOString();
  if (until !== undefined) filter.until = timeFrom('--until', until).toISOString();
  if (failed) filter.success = false;
  if (target !== undefined) {
    const [type = '', ...rest] = target.split(':');
    if (rest.length === 0)
      throw new SteepError('INVALID_REQUEST', `--target ${target}: not of the form node:ID`);
    filter.target_type = type;
    filter.target_id = rest.join(':');
  }
  return filter;
}
