/** The commit that is built: `-dirty` behind it when files differ from it, `unknown` outside of a git checkout. */
export function currentCommit(): string {
  const commit = git('rev-parse', 'HEAD');
  if (commit === undefined) return 'unknown';
  return git('status', '--porcelain') === '' ? commit : `${commit}-dirty`;
}

function git(...args: string[]): string | undefined {
  try {
    const { exitCode, stdout } = Bun.spawnSync(['git', ...args], { cwd: import.meta.dir, stderr: 'ignore' });
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  } catch {
    return undefined; // no git here
  }
}
