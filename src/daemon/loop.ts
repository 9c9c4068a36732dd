import { sleep } from '../lib/sleep.ts';

export interface Loop extends AsyncDisposable {
  /** Runs the job now, or once more if it is just running. */
  wake(): void;
}

/**
 * Runs a job again and again until disposed, pausing `pause()` milliseconds between runs: a slow job never
 * overlaps itself. The job must handle its own errors; disposal waits for a running one.
 */
export function startLoop(job: () => Promise<void>, pause: () => number): Loop {
  const stopping = new AbortController();
  let waiting = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await job();
      await sleep(pause(), AbortSignal.any([stopping.signal, waiting.signal]));
      if (waiting.signal.aborted) waiting = new AbortController();
    }
  };
  const running = run();
  return {
    wake: () => waiting.abort(),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await running;
    },
  };
}
