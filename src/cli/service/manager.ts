/** Which service is meant, the machine's or the user's own, and what to do without the rights for it. */
import { SteepError } from '../../lib/errors.ts';
import { type ServiceManager, type ServiceState, thisPlatform } from '../../platform/index.ts';

export const userArg = {
  type: 'boolean',
  description:
    'The service of this user (default: the machine’s for root, else this user’s own if there is one)',
} as const;

export interface Service {
  manager: ServiceManager;
  state: ServiceState;
}

/**
 * The service that a command is about: with --user this user's, for root the machine's, for others their own before
 * the machine's. Undefined if none is installed.
 */
export async function findService(user: boolean | undefined): Promise<Service | undefined> {
  const platform = thisPlatform();
  const { privileged } = platform.currentUser();
  const scopes = user
    ? (['user'] as const)
    : privileged
      ? (['system'] as const)
      : (['user', 'system'] as const);
  for (const scope of scopes) {
    if (scope === 'user' && !user && platform.os === 'windows') continue; // which has none
    const manager = platform.serviceManager(scope, process.env);
    const state = await manager.state();
    if (state.installed) return { manager, state };
  }
  return undefined;
}

/** Throws NOT_RUNNING (exit 3) when none is installed. */
export async function installedService(user: boolean | undefined): Promise<Service> {
  const found = await findService(user);
  if (found) return found;
  const scope = user ? 'user' : 'system';
  const manager = thisPlatform().serviceManager(scope, process.env);
  throw new SteepError('NOT_RUNNING', 'the service steep-repl is not installed', {
    hint: `${manager.withRights(`steep-repl install${user ? ' --user' : ''}`)};  or without a service:  steep-repl run`,
  });
}

/** What is refused for want of rights is refused with the command to run instead. */
export async function withRights<T>(
  manager: ServiceManager,
  command: string,
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action();
  } catch (thrown) {
    const error = SteepError.from(thrown);
    if (error.code !== 'PERMISSION_DENIED' || error.hint !== undefined) throw error;
    throw new SteepError('PERMISSION_DENIED', error.message, {
      cause: error,
      hint: manager.withRights(`steep-repl ${command}`),
    });
  }
}

export function nameOf({ name, scope }: ServiceManager): string {
  return `the service steep-repl (${name}, ${scope === 'system' ? 'of the machine' : 'of this user'})`;
}
