/**
 * How a peer is, as far as this daemon can tell:
 *
 *   unknown ──answer──► healthy ──silence──► degraded ──more silence──► unreachable ──answer──► healthy
 *
 * Silence is counted from the last answer (before the first one from when the watch began), so one lost heartbeat
 * changes nothing. A peer that answers, but slowly or without its PostgreSQL, is degraded too.
 */

export type PeerStatus = 'unknown' | 'healthy' | 'degraded' | 'unreachable';

export interface Thresholds {
  /** Milliseconds of silence. */
  degradedAfter: number;
  unreachableAfter: number;
}

/** Times are milliseconds of a clock that never goes back. */
export interface PeerSigns {
  watchedSince: number;
  lastAnswer: number | undefined;
  /** When it last spoke to us by itself: it lives, though we may not reach it. */
  lastHeartbeat: number | undefined;
  roundTrip: number | undefined;
  /** What the peer said of its PostgreSQL; undefined if it said nothing. */
  postgresqlConnected: boolean | undefined;
  /** Why the last call failed; undefined after an answer. */
  failure: string | undefined;
}

export function newSigns(now: number): PeerSigns {
  return {
    watchedSince: now,
    lastAnswer: undefined,
    lastHeartbeat: undefined,
    roundTrip: undefined,
    postgresqlConnected: undefined,
    failure: undefined,
  };
}

export function answered(signs: PeerSigns, now: number, roundTrip: number): PeerSigns {
  return { ...signs, lastAnswer: now, roundTrip, failure: undefined };
}

export function statusOf(
  signs: PeerSigns,
  now: number,
  { degradedAfter, unreachableAfter }: Thresholds,
): PeerStatus {
  const silence = now - (signs.lastAnswer ?? signs.watchedSince);
  if (silence >= unreachableAfter) return 'unreachable';
  if (signs.lastAnswer === undefined) return 'unknown';
  const slow = signs.roundTrip !== undefined && signs.roundTrip >= degradedAfter / 2;
  return silence >= degradedAfter || slow || signs.postgresqlConnected === false ? 'degraded' : 'healthy';
}
