/** What subscribers were shown, against the trail. */
import type { Session } from '../readers.ts';
import type { SoakNode, World } from '../world.ts';

/** So long before a connection broke, an entry may have been on its way. */
const ON_ITS_WAY_MS = 30_000;

/** `id` grows by writing, not by commit, so time decides what must have been shown. */
export async function checkSubscribers(world: World, node: SoakNode, sessions: Session[]): Promise<void> {
  await using sql = node.server.client();
  // What the daemon tells may be written long after it happened: before the next row that a trigger wrote.
  const rows = await sql<{ id: number; at: Date; written: Date | null }[]>`
    SELECT id::int, occurred_at AS at,
           min(occurred_at) FILTER (WHERE NOT coalesce(new_value ? 'event_id', false))
             OVER (ORDER BY id DESC ROWS UNBOUNDED PRECEDING) AS written
      FROM steep_repl.audit_log ORDER BY id`;
  for (const [index, { from, to, entries, doubles }] of sessions.entries()) {
    const name = `${node.id}, subscriber ${index + 1} (${world.clock(from)} to ${world.clock(to)})`;
    if (doubles > 0) world.found('subscribers', `${name}: ${doubles} entries twice`);
    const first = Math.min(...entries.keys());
    const missed = rows.filter(
      ({ id, at, written }) =>
        id > first &&
        at.getTime() > from &&
        (written?.getTime() ?? Infinity) < to - ON_ITS_WAY_MS &&
        !entries.has(id),
    );
    if (missed.length > 0)
      world.found(
        'subscribers',
        `${name}: ${missed.length} entries not shown, the first is ${missed[0]!.id}`,
      );
  }
}
