const LAST_LOOK_MS = 5000;

/** Waits for a condition with a generous limit: a slow machine is no failure, a hang is, also of the condition itself. */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limit = 60_000,
): Promise<void> {
  const deadline = performance.now() + limit;
  const failure = `waited ${limit / 1000} s in vain for ${what}`;
  const left = (): number => Math.max(deadline - performance.now(), LAST_LOOK_MS);
  while (!(await within(condition(), left(), failure))) {
    if (performance.now() > deadline) throw new Error(failure);
    await Bun.sleep(20);
  }
}

/** What is promised, or the failure when it does not come. */
export async function within<T>(promised: T | Promise<T>, limit: number, failure: string): Promise<T> {
  if (!(promised instanceof Promise)) return promised;
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(failure)), limit);
  return await Promise.race([promised, late]).finally(() => clearTimeout(timer));
}
