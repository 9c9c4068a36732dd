/** What `install` does on Windows, step by step; each is shown as the command that would do the same. */
import { read } from 'bun:ffi';
import type { ServiceOptions, Step } from './service.ts';
import { accessSteps, refuseForeign, step } from './windows-access.ts';
import { pointerIn, structure, textAt, wide } from './windows-api.ts';
import { deleteKey, hasValue, type RegistryValue, setValue } from './windows-registry.ts';
import { ACCESS, Service } from './windows-scm.ts';
import { accountSid, serviceSid } from './windows-security.ts';

export const SERVICE_NAME = 'steep-repl';
const DISPLAY_NAME = 'Steep REPL';
const DESCRIPTION = 'Makes this PostgreSQL a node of an active-active cluster.';
const ACCOUNT = `NT SERVICE\\${SERVICE_NAME}`;
const LOCAL_SYSTEM = 'LocalSystem';

const SERVICE_KEY = `SYSTEM\\CurrentControlSet\\Services\\${SERVICE_NAME}`;
const EVENT_SOURCE_KEY = `SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\${SERVICE_NAME}`;

/** `folder`: where the configuration of the machine lies. */
export function installationSteps(
  options: ServiceOptions,
  folder: string,
): { before: Step[]; after: Step[] } {
  const { config, executable, runAs } = options;
  const account = runAs ?? ACCOUNT;
  refuseForeign(config);
  return {
    before: accessSteps(options, folder, sidOf(account)),
    after: [
      serviceStep({ commandLine: `"${executable}" service --config "${config}"`, account }),
      ...SETTINGS.map(settingStep),
      ...Object.entries(REGISTRY).flatMap(([key, values]) => values.map((value) => registryStep(key, value))),
    ],
  };
}

export function removalSteps(): Step[] {
  const removeService = (): void => {
    using service = Service.open(SERVICE_NAME, ACCESS.delete);
    service?.delete();
  };
  const isGone = (): boolean => {
    using service = Service.open(SERVICE_NAME, ACCESS.query);
    return service === undefined;
  };
  return [
    step(`sc.exe delete ${SERVICE_NAME}`, isGone, removeService),
    step(
      `reg delete HKLM\\${EVENT_SOURCE_KEY} /f`,
      () => false,
      () => deleteKey(EVENT_SOURCE_KEY),
    ),
  ];
}

function sidOf(account: string): string {
  if (account === ACCOUNT) return serviceSid(SERVICE_NAME); // known before there is a service
  if (account.toLowerCase() === LOCAL_SYSTEM.toLowerCase()) return 'SY';
  return accountSid(account.replace(/^\.\\/, ''));
}

function serviceStep(wanted: { commandLine: string; account: string }): Step {
  const { commandLine, account } = wanted;
  const quoted = commandLine.replaceAll('"', String.raw`\"`);
  const isDone = (): boolean => {
    using service = Service.open(SERVICE_NAME, ACCESS.query);
    const found = service?.config();
    return (
      found?.commandLine === commandLine &&
      found.account.toLowerCase() === account.toLowerCase() &&
      found.startType === 2
    );
  };
  const run = (): void => {
    using service = Service.open(SERVICE_NAME, ACCESS.change);
    if (service) service.change(wanted);
    else Service.create(SERVICE_NAME, DISPLAY_NAME, wanted);
  };
  const title = `sc.exe create ${SERVICE_NAME} binPath= "${quoted}" start= auto obj= "${account}"`;
  return step(title, isDone, run);
}

/** One of ChangeServiceConfig2. */
interface Setting {
  level: number;
  title: string;
  value: Buffer;
  /** Whether what Windows holds says the same. */
  matches: (answer: Buffer) => boolean;
}

const RESTART = 1;
const RESTART_MS = 1000;
const FORGET_FAILURES_S = 86_400;
/** More than a stop takes; Windows' default would be three minutes. */
const PRESHUTDOWN_MS = 15_000;

export const SETTINGS: readonly Setting[] = [
  {
    level: 1,
    title: `sc.exe description ${SERVICE_NAME} "${DESCRIPTION}"`,
    value: structure(wide(DESCRIPTION)),
    matches: (answer) => textAt(pointerIn(answer, 0)) === DESCRIPTION,
  },
  {
    // Only the end of a process that did not say it stopped is a failure: see windows-service-host.ts.
    level: 2,
    title: `sc.exe failure ${SERVICE_NAME} reset= ${FORGET_FAILURES_S} actions= restart/${RESTART_MS}`,
    value: structure(FORGET_FAILURES_S, 0, null, null, 1, 0, structure(RESTART, RESTART_MS)),
    matches(answer) {
      const actions = pointerIn(answer, 32);
      return (
        answer.readUInt32LE(0) === FORGET_FAILURES_S &&
        answer.readUInt32LE(24) === 1 &&
        actions !== null &&
        read.u32(actions, 0) === RESTART &&
        read.u32(actions, 4) === RESTART_MS
      );
    },
  },
  {
    level: 3,
    title: `sc.exe config ${SERVICE_NAME} start= delayed-auto`,
    value: structure(1),
    matches: (answer) => answer.readUInt32LE(0) === 1,
  },
  {
    level: 7,
    title: `reg add HKLM\\${SERVICE_KEY} /v PreshutdownTimeout /t REG_DWORD /d ${PRESHUTDOWN_MS} /f`,
    value: structure(PRESHUTDOWN_MS),
    matches: (answer) => answer.readUInt32LE(0) === PRESHUTDOWN_MS,
  },
];

function settingStep({ level, title, value, matches }: Setting): Step {
  const isDone = (): boolean => {
    using service = Service.open(SERVICE_NAME, ACCESS.query);
    const answer = service?.setting(level);
    return answer !== undefined && matches(answer);
  };
  const run = (): void => {
    using service = Service.open(SERVICE_NAME, ACCESS.change);
    service?.set(level, value, title);
  };
  return step(title, isDone, run);
}

const REGISTRY: Record<string, RegistryValue[]> = {
  // The executable uploads no crash reports, and takes no orders from variables of the machine.
  [SERVICE_KEY]: [{ name: 'Environment', type: 'REG_MULTI_SZ', data: 'DO_NOT_TRACK=1' }],
  // A program of Windows whose texts are `%1`: events can be read without a library of ours.
  [EVENT_SOURCE_KEY]: [
    {
      name: 'EventMessageFile',
      type: 'REG_EXPAND_SZ',
      data: String.raw`%SystemRoot%\System32\EventCreate.exe`,
    },
    { name: 'TypesSupported', type: 'REG_DWORD', data: '7' },
    { name: 'CustomSource', type: 'REG_DWORD', data: '1' },
  ],
};

function registryStep(key: string, value: RegistryValue): Step {
  const { name, type, data } = value;
  return step(
    `reg add HKLM\\${key} /v ${name} /t ${type} /d "${data}" /f`,
    () => hasValue(key, value),
    () => setValue(key, value),
  );
}
