/** Runs a tool that makes something; throws with what it said when it fails. */
export function run(
  command: string[],
  env: Record<string, string> = {},
  cwd: string = import.meta.dir,
): void {
  const { exitCode, stderr } = Bun.spawnSync(command, {
    cwd,
    env: { ...process.env, ...env },
    stdin: 'ignore',
    stdout: 'ignore',
  });
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr.toString()}`);
}
