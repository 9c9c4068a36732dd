/**
 * New rows of `audit_log`, each exactly once, although ids are not given in the order of commits.
 *
 * A missing id belongs to a transaction that is still open, or to one that was rolled back (or to a row that was
 * pruned). So missing ids below the highest one read are kept as gaps, and read again, until every transaction
 * has ended that was open when the gap was seen. An id may be taken a moment before its transaction shows up
 * among the open ones: a gap is therefore judged at the second look, a second or more after the first. That look
 * takes a transaction id itself, which is above those of all that are open: a snapshot only knows of ids up to the
 * youngest transaction that has ended.
 */
import { type AuditEntry, entryColumns } from './audit-log.ts';
import type { Database } from './database.ts';

interface Gap {
  first: bigint;
  last: bigint;
  seenAt: number;
  /** Every transaction that may fill the gap has an id below this one; undefined until the second look. */
  horizon: bigint | undefined;
}

const BATCH = 1000;
/** How far below the newest id open transactions are looked for at the very start. */
const LOOK_BACK = 1000n;
const SECOND_LOOK_MS = 1000;

export class AuditFeed {
  private readonly now: () => number;
  private gaps: Gap[] = [];
  private highest: bigint | undefined;

  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  /** True when a later look may find rows without a new notification. */
  get waiting(): boolean {
    return this.gaps.length > 0;
  }

  /** Begins after the rows that are there now. Does nothing when it has begun already. */
  async begin(database: Database): Promise<void> {
    if (this.highest !== undefined) return;
    const [row] = await database.query(
      (sql) => sql<{ newest: string }[]>`SELECT coalesce(max(id), 0) AS newest FROM steep_repl.audit_log`,
    );
    const newest = BigInt(row?.newest ?? 0);
    const first = newest > LOOK_BACK ? newest - LOOK_BACK : 1n;
    const present = await database.query(
      (sql) => sql<{ id: string }[]>`
        SELECT id FROM steep_repl.audit_log WHERE id BETWEEN ${String(first)}::bigint AND ${String(newest)}::bigint ORDER BY id`,
    );
    this.noteGaps(
      first - 1n,
      present.map(({ id }) => BigInt(id)),
    );
    this.highest = newest;
  }

  /** Rows that were not returned before, by id; at most a batch of them. Throws what Database.query throws. */
  async next(database: Database): Promise<AuditEntry[]> {
    if (this.highest === undefined) throw new Error('the feed has not begun');
    const firsts = [...this.gaps.map((gap) => gap.first), this.highest + 1n].map(String);
    const lasts = [...this.gaps.map((gap) => gap.last), 9_223_372_036_854_775_807n].map(String);
    const lookedAt = this.now();
    const judging = this.gaps.some((gap) => isDue(gap, lookedAt));
    const rows = await database.query(
      (sql) => sql<(AuditEntry & { oldest: string; own: string | null; top: string })[]>`
        SELECT s.oldest, s.own, s.top, ${entryColumns(sql)}
          FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS oldest,
                       CASE WHEN ${judging}::boolean THEN pg_current_xact_id()::text END AS own,
                       (SELECT coalesce(max(id), 0)::text FROM steep_repl.audit_log) AS top) s
          LEFT JOIN LATERAL (
                 SELECT a.* FROM unnest(string_to_array(${firsts.join(',')}, ',')::bigint[],
                                        string_to_array(${lasts.join(',')}, ',')::bigint[]) AS wanted (first, last)
                  CROSS JOIN LATERAL (SELECT * FROM steep_repl.audit_log
                                       WHERE id BETWEEN wanted.first AND wanted.last ORDER BY id LIMIT ${BATCH}) a
                  ORDER BY a.id LIMIT ${BATCH}) a ON true
         ORDER BY a.id`,
    );
    const [snapshot] = rows;
    if (!snapshot) return [];
    const entries = rows
      .filter((row) => row.id !== null)
      .map(({ oldest: _oldest, own: _own, top: _top, ...entry }) => entry);
    const ids = entries.map(({ id }) => BigInt(id));
    const above = ids.filter((id) => id > (this.highest ?? 0n));
    for (const id of ids) if (id <= this.highest) this.fill(id);
    if (entries.length < BATCH) this.dropEmptyGaps(BigInt(snapshot.oldest));
    if (snapshot.own !== null)
      for (const gap of this.gaps) if (isDue(gap, lookedAt)) gap.horizon = BigInt(snapshot.own);
    this.noteGaps(this.highest, above);
    this.highest = above.at(-1) ?? this.highest;
    this.stepBack(BigInt(snapshot.top));
    return entries;
  }

  /** Ids begin again lower when a backup was restored, or the extension made anew: what is there now is old. */
  private stepBack(top: bigint): void {
    if (this.highest === undefined || top >= this.highest) return;
    this.highest = top;
    this.gaps = this.gaps.filter(({ first }) => first <= top);
  }

  private noteGaps(after: bigint, ids: bigint[]): void {
    let expected = after + 1n;
    for (const id of ids) {
      if (id > expected)
        this.gaps.push({ first: expected, last: id - 1n, seenAt: this.now(), horizon: undefined });
      expected = id + 1n;
    }
  }

  private fill(id: bigint): void {
    this.gaps = this.gaps.flatMap((gap) => {
      if (id < gap.first || id > gap.last) return [gap];
      return [
        { ...gap, last: id - 1n },
        { ...gap, first: id + 1n },
      ].filter(({ first, last }) => first <= last);
    });
  }

  /** Of a look that read everything there was: a gap whose transactions have all ended stays empty. */
  private dropEmptyGaps(oldest: bigint): void {
    this.gaps = this.gaps.filter((gap) => gap.horizon === undefined || gap.horizon > oldest);
  }
}

function isDue(gap: Gap, at: number): boolean {
  return gap.horizon === undefined && at - gap.seenAt >= SECOND_LOOK_MS;
}
