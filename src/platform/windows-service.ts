/** The service of Windows, as its service control manager (SCM) has it. */
import { childEnv } from '../lib/child-env.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import type {
  LogEntry,
  LogQuery,
  ServiceActivity,
  ServiceManager,
  ServiceScope,
  ServiceState,
} from './service.ts';
import { kernel32, systemProgram, windowsError } from './windows-api.ts';
import { parseEvents, queryArguments } from './windows-event-log.ts';
import { installationSteps, removalSteps, SERVICE_NAME } from './windows-install.ts';
import { ACCESS, Service, type ServiceStatus } from './windows-scm.ts';

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 30_000;
const QUERY_LIMIT_MS = 30_000;
const POLL_MS = 100;
const FOLLOW_MS = 1000;
const MOST_A_SECOND = 10_000;

const CONTROL_STOP = 1;
const CONTROL_PARAM_CHANGE = 6;
const NOT_ACCEPTED_NOW = 1061;
const ALREADY_RUNNING = 1056;
const NOT_ACTIVE = 1062;
const SPECIFIC_ERROR = 1066;
const NEVER_STARTED = 1077;
const SYNCHRONIZE = 0x10_0000;

const ACTIVITIES: Record<ServiceStatus['state'], ServiceActivity> = {
  stopped: 'inactive',
  'start pending': 'starting',
  'stop pending': 'stopping',
  running: 'active',
  'continue pending': 'active',
  'pause pending': 'active',
  paused: 'active',
  unknown: 'inactive',
};

/** `folder`: of the machine's configuration. */
export function windowsServiceManager(scope: ServiceScope, folder: string): ServiceManager {
  if (scope === 'user')
    throw new SteepError('INVALID_REQUEST', 'Windows has no services of a user', {
      hint: 'without --user the service is the machine’s;  steep-repl run  is the daemon without a service',
    });
  return {
    name: 'SCM',
    scope,
    knowsReady: true,
    installation: (options) => installationSteps(options, folder),
    removal: removalSteps,
    kept: () => [folder], // the state lies in it
    commandAs: () => undefined,
    state: async () => stateOf(),
    start,
    stop,
    async restart() {
      await stop();
      await start();
    },
    async reload() {
      using service = open(ACCESS.reload);
      const code = service.control(CONTROL_PARAM_CHANGE);
      if (code !== 0) throw windowsError(`service ${SERVICE_NAME}`, code);
    },
    logs,
    advice: () => advice(),
    withRights: (command) => `in a prompt that was opened as administrator:  ${command}`,
  };
}

function open(access: number): Service {
  const service = Service.open(SERVICE_NAME, access);
  if (service) return service;
  throw new SteepError('NOT_RUNNING', `there is no service ${SERVICE_NAME}`, { hint: 'steep-repl install' });
}

function stateOf(): ServiceState {
  using service = Service.open(SERVICE_NAME, ACCESS.query);
  const unknown = { pid: undefined, since: undefined, detail: undefined, user: undefined };
  if (!service) return { ...unknown, installed: false, enabled: false, activity: 'inactive' };
  const status = service.status();
  const { startType, account } = service.config();
  const failure = status.state === 'stopped' ? failureOf(status) : undefined;
  return {
    ...unknown,
    installed: true,
    enabled: startType === 2,
    activity: failure === undefined ? ACTIVITIES[status.state] : 'failed',
    pid: status.pid === 0 ? undefined : status.pid,
    detail: failure,
    user: account,
  };
}

/** Why a service is no longer there; undefined when it was stopped, or never started. */
function failureOf({ exitCode, ownExitCode }: ServiceStatus): string | undefined {
  if (exitCode === 0 || exitCode === NEVER_STARTED) return undefined;
  if (exitCode === SPECIFIC_ERROR) return `exit code ${ownExitCode}`;
  return windowsError('ended', exitCode).message;
}

async function start(): Promise<void> {
  using service = open(ACCESS.start);
  const code = service.start();
  if (code !== 0 && code !== ALREADY_RUNNING) throw windowsError(`starting service ${SERVICE_NAME}`, code);
  const status = await waitWhile(service, ({ state }) => state === 'start pending', START_LIMIT_MS, 'start');
  if (status.state === 'running') return;
  throw new SteepError(
    'FAILED',
    `the service ended while it started: ${failureOf(status) ?? 'it was not asked to run (enabled: false?)'}`,
    {
      hint: 'steep-repl logs',
    },
  );
}

async function stop(): Promise<void> {
  using service = open(ACCESS.stop);
  const { pid } = service.status();
  // Nobody obeys while the service starts: asked again until it does.
  const deadline = performance.now() + STOP_LIMIT_MS;
  for (;;) {
    const code = service.control(CONTROL_STOP);
    if (code === 0 || code === NOT_ACTIVE) break;
    if (code !== NOT_ACCEPTED_NOW || performance.now() > deadline)
      throw windowsError(`stopping service ${SERVICE_NAME}`, code);
    await Bun.sleep(POLL_MS);
  }
  await waitWhile(service, ({ state }) => state !== 'stopped', STOP_LIMIT_MS, 'stop');
  await ended(pid);
}

async function waitWhile(
  service: Service,
  condition: (status: ServiceStatus) => boolean,
  limit: number,
  what: string,
): Promise<ServiceStatus> {
  const deadline = performance.now() + limit;
  for (;;) {
    const status = service.status();
    if (!condition(status)) return status;
    if (performance.now() > deadline)
      throw new SteepError(
        'TIMEOUT',
        `the service did not ${what} within ${limit / 1000} s: it is ${status.state}`,
        {
          hint: 'steep-repl logs',
        },
      );
    await Bun.sleep(POLL_MS);
  }
}

/** The SCM calls a service stopped a moment before its process has ended and given back what it held. */
async function ended(pid: number): Promise<void> {
  const { OpenProcess, WaitForSingleObject, CloseHandle } = kernel32();
  const handle = pid === 0 ? null : OpenProcess(SYNCHRONIZE, 0, pid);
  if (handle === null) return;
  try {
    const deadline = performance.now() + STOP_LIMIT_MS;
    while (WaitForSingleObject(handle, 0) !== 0) {
      if (performance.now() > deadline)
        throw new SteepError('TIMEOUT', `process ${pid} of the service did not end`, {
          hint: `taskkill /F /PID ${pid}`,
        });
      await Bun.sleep(POLL_MS);
    }
  } finally {
    CloseHandle(handle);
  }
}

async function* logs({ lines, since, follow }: LogQuery): AsyncIterable<LogEntry> {
  let from: { since: Date | undefined; after: number | undefined } = { since, after: undefined };
  let events = await query({ ...from, count: lines });
  if (events.length === 0) from.since ??= new Date();
  for (;;) {
    for (const { time, level, text } of events) yield { time, level, text };
    if (!follow) return;
    const last = events.at(-1);
    if (last) from = { since: undefined, after: last.record };
    await Bun.sleep(FOLLOW_MS);
    events = await query({ ...from, count: MOST_A_SECOND });
  }
}

async function query(what: Parameters<typeof queryArguments>[1]): Promise<ReturnType<typeof parseEvents>> {
  const command = [systemProgram('wevtutil.exe'), ...queryArguments(SERVICE_NAME, what)];
  let child;
  try {
    child = Bun.spawn(command, {
      env: childEnv(),
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      timeout: QUERY_LIMIT_MS,
    });
  } catch (error) {
    throw new SteepError('FAILED', `${command[0]} cannot be run: ${messageOf(error)}`, { cause: error });
  }
  const [output, complaint, status] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0)
    throw new SteepError(
      'FAILED',
      `the Event Log cannot be read: ${complaint.trim() || `exit code ${status}`}`,
      {
        hint: 'eventvwr.msc  shows it: Windows Logs, Application, source steep-repl',
      },
    );
  return parseEvents(output);
}

function advice(): string[] {
  using service = Service.open(SERVICE_NAME, ACCESS.query);
  const account = service?.config().account ?? '';
  if (account === '' || /^(NT SERVICE|NT AUTHORITY)\\|^LocalSystem$|\$$/i.test(account)) return [];
  return [`Windows needs the password of ${account}: services.msc, ${SERVICE_NAME}, Log On`];
}
