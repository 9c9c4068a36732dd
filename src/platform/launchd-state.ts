/** What `launchctl print` says, as ours. Its text is for people and has no promise: what is not found is left open. */
import type { ServiceState } from './service.ts';

type Known = Pick<ServiceState, 'installed' | 'enabled' | 'user'>;

/** `printed`: undefined when launchd has not taken the service in. */
export function launchdState(printed: string | undefined, known: Known): ServiceState {
  if (printed === undefined)
    return { ...known, activity: 'inactive', pid: undefined, since: undefined, detail: undefined };
  // At the first level of the block only: below stand endpoints and the like with states of their own.
  const field = (name: string): string | undefined =>
    new RegExp(`^\\t${name} = (.+)$`, 'm').exec(printed)?.[1];
  const state = field('state');
  const exit = field('last exit code');
  const neverEnded = exit === undefined || exit.includes('never');
  const failed = !neverEnded && !/^0\b/.test(exit);
  const pid = Number(field('pid')) || undefined;
  return {
    ...known,
    activity:
      pid !== undefined ? 'active' : waits(state, neverEnded) ? 'starting' : failed ? 'failed' : 'inactive',
    pid,
    since: undefined,
    detail: pid === undefined && failed ? `ended with exit code ${exit}` : undefined,
  };
}

function waits(state: string | undefined, neverEnded: boolean): boolean {
  return state === 'spawn scheduled' || state === 'xpcproxy' || (state === 'not running' && neverEnded);
}
