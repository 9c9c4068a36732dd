export interface Commit {
  /** Its hash: `-dirty` behind it when files differ from it, `unknown` outside of a git checkout. */
  commit: string;
  /** When it was made, in UTC; 1970 outside of a git checkout. */
  date: string;
}

/** The commit that is built. */
export function currentCommit(): Commit {
  const [hash, seconds] = git('log', '-1', '--format=%H %ct')?.split(' ') ?? [];
  const date = new Date(Number(seconds ?? 0) * 1000).toISOString().replace('.000Z', 'Z');
  if (hash === undefined) return { commit: 'unknown', date };
  return { commit: git('status', '--porcelain') === '' ? hash : `${hash}-dirty`, date };
}

function git(...args: string[]): string | undefined {
  try {
    const { exitCode, stdout } = Bun.spawnSync(['git', ...args], { cwd: import.meta.dir, stderr: 'ignore' });
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  } catch {
    return undefined; // no git here
  }
}
