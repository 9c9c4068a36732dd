/** What `systemctl show` says, as ours. */
import type { ServiceActivity, ServiceState } from './service.ts';

export const SHOWN_PROPERTIES: readonly string[] =
  'UnitFileState ActiveState SubState Result MainPID ExecMainStatus NRestarts StateChangeTimestamp User'.split(
    ' ',
  );

export const NOT_INSTALLED: ServiceState = {
  installed: false,
  enabled: false,
  activity: 'inactive',
  pid: undefined,
  since: undefined,
  detail: undefined,
  user: undefined,
};

const ACTIVITIES: Record<string, ServiceActivity> = {
  active: 'active',
  reloading: 'active',
  activating: 'starting',
  deactivating: 'stopping',
  failed: 'failed',
};

export function stateFrom(shown: Record<string, string>): ServiceState {
  const restarts = Number(shown['NRestarts'] ?? 0);
  const details = [
    failureFrom(shown),
    ...(shown['SubState'] === 'auto-restart' ? ['starts again in a moment'] : []),
    ...(restarts > 0 ? [`restarted ${restarts} times`] : []),
  ].filter((detail) => detail !== undefined);
  return {
    installed: true,
    enabled: shown['UnitFileState'] === 'enabled',
    activity: ACTIVITIES[shown['ActiveState'] ?? ''] ?? 'inactive',
    pid: Number(shown['MainPID']) || undefined,
    since: timeFrom(shown['StateChangeTimestamp']),
    detail: details.length === 0 ? undefined : details.join(', '),
    user: shown['User'] || undefined,
  };
}

function failureFrom({
  Result: result = 'success',
  ExecMainStatus: status,
}: Record<string, string>): string | undefined {
  switch (result) {
    case 'success':
      return undefined;
    case 'exit-code':
      return `ended with exit code ${status}`;
    case 'signal':
    case 'core-dump':
      return `killed by signal ${status}`;
    case 'watchdog':
      return 'killed because it hung';
    case 'timeout':
      return 'killed because it was too slow';
    default:
      return result;
  }
}

/** `Mon 2026-11-23 20:57:31 UTC`; systemctl was told to use UTC. */
function timeFrom(text: string | undefined): Date | undefined {
  const [, day, time] = /(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC/.exec(text ?? '') ?? [];
  return day === undefined ? undefined : new Date(`${day}T${time}Z`);
}
