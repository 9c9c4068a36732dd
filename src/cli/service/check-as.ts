/** Looks at the configuration with the eyes of the service's user: what root can read tells nothing. */
import path from 'node:path';
import { z } from 'zod';
import { childEnv } from '../../lib/child-env.ts';
import { messageOf, SteepError } from '../../lib/errors.ts';
import type { Platform, ServiceManager } from '../../platform/index.ts';
import type { CheckResult } from '../checks.ts';
import { findService } from './manager.ts';

const LIMIT_MS = 60_000;

/** What `config check --json` prints. */
const report = z.object({
  problems: z.array(z.object({ message: z.string(), hint: z.string().nullable() })),
  checks: z.array(
    z.object({
      name: z.string(),
      status: z.enum(['ok', 'note', 'warn', 'fail']),
      message: z.string(),
      hint: z.string().nullable(),
    }),
  ),
});

/** A command line of this executable, as the service's user and with the service's environment. */
function commandLine(
  manager: ServiceManager,
  user: string | undefined,
  args: string[],
): string[] | undefined {
  return manager.commandAs(user, ['/usr/bin/env', 'STEEP_SERVICE_SCOPE=system', process.execPath, ...args]);
}

/**
 * The checks of `config check`; undefined where one cannot become this user. Throws PERMISSION_DENIED when that user
 * may not run the executable, FAILED when nothing can be run as that user.
 */
export async function checkAs(
  manager: ServiceManager,
  user: string | undefined,
  config: string,
): Promise<CheckResult[] | undefined> {
  const command = commandLine(manager, user, ['config', 'check', '--json', '--config', config]);
  if (command === undefined) return undefined;
  const child = Bun.spawn(command, {
    cwd: '/',
    env: childEnv(),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  try {
    const { problems, checks } = report.parse(JSON.parse(stdout));
    return [
      ...problems.map((problem) => ({ name: 'config', status: 'fail' as const, ...problem })),
      ...checks,
    ];
  } catch (error) {
    const said = stderr.trim().split('\n')[0] || messageOf(error);
    if (!/permission denied|not found|no such file/i.test(said))
      throw new SteepError('FAILED', `the checks as the service’s user failed: ${said}`, { cause: error });
    throw new SteepError('PERMISSION_DENIED', `the service’s user cannot run ${process.execPath}: ${said}`, {
      cause: error,
      hint: `put it where everybody may read it:  install -m 755 ${process.execPath} /usr/local/bin/steep-repl`,
    });
  }
}

/**
 * Runs a command again as the user of the installed service, when root asks about the file that the service uses:
 * keys and folders of that user would look foreign to root. Its exit code; undefined when there is no reason to.
 */
export async function againAsService(
  file: string,
  platform: Platform,
  args: string[],
): Promise<number | undefined> {
  const systemFile = path.join(platform.configDirs(process.env).system, 'config.yaml');
  if (!platform.currentUser().privileged || file !== systemFile) return undefined;
  const found = await findService(undefined).catch(() => undefined); // no service manager, no service
  if (found?.state.user === undefined || found.state.user === 'root') return undefined;
  const command = commandLine(found.manager, found.state.user, [...args, '--config', file]);
  if (command === undefined) return undefined;
  const child = Bun.spawn(command, { cwd: '/', env: childEnv(), stdio: ['inherit', 'inherit', 'inherit'] });
  return await child.exited;
}
