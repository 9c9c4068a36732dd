/** Runs the tools of the operating system, such as systemctl: a deadline, English, and errors of ours. */
import { childEnv } from '../lib/child-env.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';

const LIMIT_MS = 60_000;

interface ToolResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** What the tool printed, whatever its exit code. Throws FAILED when it is not there, TIMEOUT. */
export async function askTool(
  command: readonly string[],
  env: Record<string, string> = {},
): Promise<ToolResult> {
  const child = start(command, env, LIMIT_MS);
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (child.signalCode === 'SIGKILL')
    throw new SteepError('TIMEOUT', `${command.join(' ')} did not end within ${LIMIT_MS / 1000} s`);
  return { code, stdout, stderr };
}

/** The same for a tool that has to succeed. Throws PERMISSION_DENIED and FAILED with what it said. */
export async function runTool(command: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await askTool(command, env);
  if (code === 0) return stdout;
  const said = (stderr.trim() || stdout.trim() || `exit code ${code}`).split('\n')[0] ?? '';
  const denied =
    /access denied|permission denied|authentication (is )?required|not permitted|not privileged/i;
  throw new SteepError(denied.test(stderr) ? 'PERMISSION_DENIED' : 'FAILED', `${command[0]}: ${said}`);
}

/** Its lines as they come. Ends the tool when the reader goes away; without `endless` after a minute, too. */
export async function* linesOfTool(command: readonly string[], endless: boolean): AsyncGenerator<string> {
  const child = start(command, {}, endless ? undefined : LIMIT_MS);
  const decoder = new TextDecoder();
  let rest = '';
  const end = (): void => child.kill();
  process.once('exit', end);
  try {
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    if (rest !== '') yield rest;
    if ((await child.exited) !== 0) {
      const said = (await new Response(child.stderr).text()).trim();
      throw new SteepError('FAILED', `${command[0]}: ${said.split('\n')[0] ?? ''}`);
    }
  } finally {
    process.off('exit', end);
    end();
  }
}

function start(command: readonly string[], env: Record<string, string>, limitMs?: number) {
  try {
    return Bun.spawn([...command], {
      env: childEnv({ LC_ALL: 'C', SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '', ...env }),
      stdio: ['ignore', 'pipe', 'pipe'],
      killSignal: 'SIGKILL',
      ...(limitMs === undefined ? {} : { timeout: limitMs }),
    });
  } catch (error) {
    const missing = codeOf(error) === 'ENOENT';
    throw new SteepError('FAILED', missing ? `${command[0]} is not there` : messageOf(error), {
      cause: error,
      ...(missing ? { hint: 'without a service manager:  steep-repl run' } : {}),
    });
  }
}
