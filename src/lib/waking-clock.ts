/**
 * A clock that does not count the time in which nobody looked at it: the process stood still (SIGSTOP, a paused
 * machine, a busy disk) and heard nothing, whoever spoke. It must be looked at more often than every `gap`
 * milliseconds while the process runs.
 */
export function wakingClock(now: () => number, gap: () => number): () => number {
  let looked = now();
  let slept = 0;
  return () => {
    const moment = now();
    if (moment - looked > gap()) slept += moment - looked;
    looked = moment;
    return moment - slept;
  };
}
