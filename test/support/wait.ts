/** Waits for a condition with a generous limit: a slow machine is no failure, a hang is. */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limit = 30_000,
): Promise<void> {
  const deadline = performance.now() + limit;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${limit / 1000} s in vain for ${what}`);
    await Bun.sleep(20);
  }
}
