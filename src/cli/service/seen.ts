/** The service beside the daemon: what `status` and `doctor` say when they belong together, and when they do not. */
import { SteepError } from '../../lib/errors.ts';
import type { ServiceManager, ServiceState } from '../../platform/index.ts';
import type { Check, Finding } from '../checks.ts';
import { findService, nameOf, type Service } from './manager.ts';

/** Undefined also where the manager does not answer: the daemon is what was asked about. */
export async function serviceSeen(): Promise<Service | undefined> {
  return await findService(undefined).catch(() => undefined);
}

/** Behind the pid of a daemon: `systemd, enabled`. Undefined when no service is installed. */
export function runBy(service: Service | undefined, pid: number): string | undefined {
  if (service === undefined) return undefined;
  const { manager, state } = service;
  if (state.pid !== pid) return `not by the service, which is ${inWords(state)}`;
  const owner = manager.scope === 'user' ? ' of this user' : '';
  return `${manager.name}${owner}, ${state.enabled ? 'enabled' : 'not enabled'}`;
}

/** Nobody answers: the service may know why. */
export function explained(error: SteepError, service: Service | undefined): SteepError {
  if (service === undefined || (error.code !== 'NOT_RUNNING' && error.code !== 'PERMISSION_DENIED'))
    return error;
  const { manager, state } = service;
  if (error.code === 'PERMISSION_DENIED')
    return new SteepError(error.code, `${error.message}; ${nameOf(manager)} is ${inWords(state)}`, {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  if (state.activity === 'active' || state.activity === 'starting')
    return new SteepError('NOT_RUNNING', `${nameOf(manager)} is ${inWords(state)}, but ${error.message}`, {
      cause: error,
      hint:
        state.activity === 'active'
          ? 'is this the right --config or --socket?  steep-repl logs'
          : 'steep-repl logs',
    });
  return new SteepError('NOT_RUNNING', `the daemon does not run: ${nameOf(manager)} is ${inWords(state)}`, {
    cause: error,
    hint: state.activity === 'failed' ? 'steep-repl logs' : manager.withRights('steep-repl start'),
  });
}

function inWords({ activity, pid, detail }: ServiceState): string {
  const word = {
    active: 'active',
    starting: 'starting',
    stopping: 'stopping',
    failed: 'failed',
    inactive: 'stopped',
  }[activity];
  return [word, ...(pid === undefined ? [] : [`pid ${pid}`]), ...(detail === undefined ? [] : [detail])].join(
    ', ',
  );
}

/** The stable shape of a service in JSON. */
export function serviceJson({ name, scope }: ServiceManager, state: ServiceState): Record<string, unknown> {
  return {
    manager: name,
    scope,
    installed: state.installed,
    enabled: state.enabled,
    activity: state.activity,
    pid: state.pid ?? null,
    since: state.since?.toISOString() ?? null,
    detail: state.detail ?? null,
  };
}

export function seenJson(service: Service | undefined): Record<string, unknown> | null {
  return service === undefined ? null : serviceJson(service.manager, service.state);
}

export const serviceCheck: Check = {
  name: 'service',
  async run(): Promise<Finding[]> {
    const service = await serviceSeen();
    if (service === undefined)
      return [
        { status: 'note', message: 'the daemon is no service of this machine', hint: 'steep-repl install' },
      ];
    const { manager, state } = service;
    if (state.activity === 'failed')
      return [
        { status: 'fail', message: `${nameOf(manager)} is ${inWords(state)}`, hint: 'steep-repl logs' },
      ];
    if (!state.enabled)
      return [
        {
          status: 'warn',
          message: `${nameOf(manager)} does not start at boot`,
          hint: manager.withRights('steep-repl install'),
        },
      ];
    return [{ status: 'ok', message: `${nameOf(manager)} is ${inWords(state)}` }];
  },
};

/**
 * A daemon without IPC is told by its service; the result is then not known. Throws the given error when there is no
 * such service, or when it is the service itself that asks.
 */
export async function reloadByService(error: unknown, socket: string | undefined): Promise<undefined> {
  const fromService = process.env['STEEP_SERVICE_SCOPE'] !== undefined;
  if (fromService || socket !== undefined || SteepError.from(error).code !== 'NOT_RUNNING') throw error;
  const service = await serviceSeen();
  if (service?.state.activity !== 'active') throw error;
  await service.manager.reload();
  return undefined;
}
