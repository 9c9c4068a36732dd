import { z } from 'zod';
import { type AuditPosition, COUNT_LIMIT, countAudit, queryAudit } from '../db/audit-log.ts';
import { SteepError } from '../lib/errors.ts';
import { operation } from './operation.ts';

const time = z.iso.datetime({ offset: true, error: 'an RFC 3339 time such as 2026-01-31T00:00:00Z' });
const names = z.array(z.string().min(1)).max(100).optional();

export const auditQuery = operation({
  params: z.object({
    limit: z.int().min(1).max(1000).default(100),
    offset: z.int().min(0).max(1_000_000).default(0),
    action_filter: names,
    actor_filter: names,
    target_type: z.string().optional(),
    target_id: z.string().optional(),
    success: z.boolean().optional(),
    since: time.optional(),
    until: time.optional(),
    cursor: z.string().optional(),
  }),
  changes: false,
  async run(params, { subject: { database } }) {
    if (!database) throw new SteepError('INVALID_REQUEST', 'a witness has no audit trail');
    const filter = {
      actions: params.action_filter,
      actors: params.actor_filter,
      target_type: params.target_type,
      target_id: params.target_id,
      success: params.success,
      since: params.since,
      until: params.until,
    };
    const below = params.cursor === undefined ? undefined : parseCursor(params.cursor);
    const [page, total] = await Promise.all([
      queryAudit(database, filter, { limit: params.limit, offset: params.offset, below }),
      countAudit(database, filter),
    ]);
    const last = page.entries.at(-1);
    return {
      entries: page.entries,
      total: Math.min(total, COUNT_LIMIT),
      ...(total > COUNT_LIMIT ? { total_capped: true } : {}),
      has_more: page.has_more,
      next_cursor: page.has_more && last ? cursorOf(last) : null,
    };
  },
});

/** Opaque to clients. */
function cursorOf({ occurred_at, id }: AuditPosition): string {
  return Buffer.from(JSON.stringify([occurred_at, id])).toString('base64url');
}

const position = z.tuple([z.iso.datetime({ offset: true }), z.string().regex(/^\d{1,19}$/)]);

function parseCursor(cursor: string): AuditPosition {
  try {
    const [occurred_at, id] = position.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
    return { occurred_at, id };
  } catch (error) {
    throw new SteepError('INVALID_REQUEST', 'cursor: not a next_cursor of audit.query', { cause: error });
  }
}
