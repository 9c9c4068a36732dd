/** systemctl, for the machine's systemd or a user's. */
import { SteepError } from '../lib/errors.ts';
import type { Env } from './platform.ts';
import { currentUser, userRuntimeDir } from './posix.ts';
import type { ServiceScope, Step } from './service.ts';
import { commandStep } from './steps.ts';
import { runTool } from './tool.ts';

export class Systemctl {
  private readonly scope: ServiceScope;
  private readonly env: Env;
  private readonly command: readonly string[];

  constructor(scope: ServiceScope, env: Env) {
    this.scope = scope;
    this.env = env;
    this.command = ['systemctl', '--no-ask-password', ...(scope === 'user' ? ['--user'] : [])];
  }

  /** What it prints. Throws PERMISSION_DENIED, FAILED, TIMEOUT. */
  async ask(args: readonly string[]): Promise<string> {
    try {
      return await runTool([...this.command, ...args], this.environment());
    } catch (thrown) {
      const error = SteepError.from(thrown);
      if (!/connect to bus|not been booted with systemd/i.test(error.message)) throw error;
      const [who, hint] =
        this.scope === 'user'
          ? [currentUser().name, 'log in as this user, not by su or sudo']
          : ['the machine', 'without systemd:  steep-repl run'];
      throw new SteepError('FAILED', `${error.message}; systemd does not run here for ${who}`, {
        cause: error,
        hint,
      });
    }
  }

  /** Properties of a unit, of one that is not there, too. Times are in UTC. */
  async show(unit: string, properties: readonly string[]): Promise<Record<string, string>> {
    const text = await this.ask(['show', unit, `--property=${properties.join(',')}`]);
    return Object.fromEntries(
      text
        .split('\n')
        .filter((line) => line.includes('='))
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  step(args: readonly string[], isDone: () => Promise<boolean>): Step {
    return commandStep([...this.command, ...args], isDone, () => this.environment());
  }

  /** A user who came by su or cron has a manager all the same. */
  private environment(): Record<string, string> {
    const runtime = userRuntimeDir(this.env);
    return { TZ: 'UTC', ...(runtime === undefined ? {} : { XDG_RUNTIME_DIR: runtime }) };
  }
}
