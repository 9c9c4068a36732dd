/** Probes a session until PostgreSQL is lost. One slow answer is not a loss; two in a row are. */
import { type Away, awayFrom, hintFor, lossFrom } from './errors.ts';
import { probe } from './server.ts';
import type { Session } from './session.ts';
import type { Target } from './target.ts';

const INTERVAL_MS = 500;
const DEADLINE_MS = 700;
const UNANSWERED_TO_LOSE = 2;
/** A timer that fires later than this shows that we were held up, not the server. */
const OWN_STALL_MS = 200;

export interface Watch {
  lost: Promise<Away>;
  stop(): void;
}

/** Starts to probe. `onLatency` gets the milliseconds of each answer; `lost` resolves once, unless stopped first. */
export function watch(session: Session, target: Target, onLatency: (ms: number) => void): Watch {
  const lost = Promise.withResolvers<Away>();
  const deadlines = new Set<NodeJS.Timeout>();
  let unanswered = 0;

  const clearDeadlines = (): void => {
    for (const timer of deadlines) clearTimeout(timer);
    deadlines.clear();
  };

  const expectAnswer = (): void => {
    const due = performance.now() + DEADLINE_MS;
    const timer = setTimeout(() => {
      deadlines.delete(timer);
      if (performance.now() - due > OWN_STALL_MS) {
        expectAnswer();
        return;
      }
      unanswered += 1;
      if (unanswered >= UNANSWERED_TO_LOSE)
        lost.resolve({
          reason: 'unreachable',
          message: 'the server does not answer',
          hint: hintFor('unreachable', target),
        });
    }, DEADLINE_MS);
    deadlines.add(timer);
  };

  const probeOnce = async (): Promise<void> => {
    const sent = performance.now();
    expectAnswer();
    try {
      const { readOnly } = await probe(session);
      unanswered = 0;
      clearDeadlines();
      onLatency(performance.now() - sent);
      if (readOnly)
        lost.resolve({
          reason: 'read_only',
          message: 'the server takes no writes any more',
          hint: hintFor('read_only', target),
        });
    } catch (error) {
      lost.resolve(lossFrom(error, target) ?? awayFrom(error, target));
    }
  };

  const ticker = setInterval(() => {
    if (!session.closed) void probeOnce();
  }, INTERVAL_MS);
  return {
    lost: lost.promise,
    stop() {
      clearInterval(ticker);
      clearDeadlines();
    },
  };
}
