/** What `install` does on Windows, step by step; each is shown as the command that would do the same. */
import { read } from 'bun:ffi';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { messageOf, SteepError } from '../lib/errors.ts';
import type { ServiceOptions, Step } from './service.ts';
import { pointerIn, structure, textAt, wide } from './windows-api.ts';
import { deleteKey, hasValue, type RegistryValue, setValue } from './windows-registry.ts';
import { ACCESS, Service } from './windows-scm.ts';
import { accountSid, letsRead, ownSid, rightsOf, serviceSid, setRights } from './windows-security.ts';

export const SERVICE_NAME = 'steep-repl';
const DISPLAY_NAME = 'Steep REPL';
const DESCRIPTION = 'Makes this PostgreSQL a node of an active-active cluster.';
const ACCOUNT = `NT SERVICE\\${SERVICE_NAME}`;
const LOCAL_SYSTEM = 'LocalSystem';

const SERVICE_KEY = `SYSTEM\\CurrentControlSet\\Services\\${SERVICE_NAME}`;
const EVENT_SOURCE_KEY = `SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\${SERVICE_NAME}`;

/** A step whose state cannot be seen is done again: all of them may be. */
function step(title: string, isDone: () => boolean, run: () => void): Step {
  return {
    title,
    isDone() {
      try {
        return isDone();
      } catch {
        return false;
      }
    },
    run,
  };
}

/** `folder`: where the configuration of the machine lies, which nobody but administrators may change. */
export function installationSteps(
  options: ServiceOptions,
  folder: string,
): { before: Step[]; after: Step[] } {
  const { config, executable, keyFile, reads, runAs, stateDir } = options;
  const account = runAs ?? ACCOUNT;
  const sid = sidOf(account);
  refuseForeign(config);
  const files = [...new Set([config, ...(keyFile ? [keyFile] : []), ...reads])];
  const inside = files.filter((file) => file.startsWith(`${folder}\\`));
  const outside = [executable, ...files].filter((file) => !inside.includes(file));
  return {
    before: [
      folderStep(folder),
      privateStep(folder, 'OICI', sid, 'RX'),
      ...inside.filter((file) => existsSync(file)).map((file) => privateStep(file, '', sid, 'RX')),
      ...caKeys(inside).map((file) => privateStep(file, '', 'SY', 'RX')),
      folderStep(stateDir),
      privateStep(stateDir, 'OICI', sid, 'M'),
      ...outside.map((file) => readStep(file, sid)),
    ],
    after: [
      serviceStep({ commandLine: `"${executable}" service --config "${config}"`, account }),
      ...SETTINGS.map(settingStep),
      ...Object.entries(REGISTRY).flatMap(([key, values]) => values.map((value) => registryStep(key, value))),
    ],
  };
}

/** The CA's key, which `tls init` puts beside the certificates: no daemon reads it. */
function caKeys(files: string[]): string[] {
  const folders = new Set(files.map((file) => path.win32.dirname(file)));
  return [...folders].map((folder) => path.win32.join(folder, 'ca.key')).filter((file) => existsSync(file));
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

/** Everybody may make a folder in %PROGRAMDATA%: what an administrator did not write is not run by a service. */
function refuseForeign(config: string): void {
  const owner = /^O:([^:]+?)(?=[GDS]:|$)/.exec(rightsOf(config))?.[1];
  if (owner === undefined || ['BA', 'SY', 'LA', ownSid()].includes(owner)) return;
  throw new SteepError('PERMISSION_DENIED', `${config} belongs to ${owner}, who could change it`, {
    hint: `look at what it says, then, as administrator:  icacls "${config}" /setowner *S-1-5-32-544`,
  });
}

const RIGHTS = { RX: '0x1200a9', M: '0x1301bf' } as const;

/** Leaves a file or folder to the system and administrators, who own it, and some rights to the service. */
function privateStep(target: string, inherited: '' | 'OICI', sid: string, rights: keyof typeof RIGHTS): Step {
  const grants = [
    { sid: 'SY', rights: 'FA', icacls: '*S-1-5-18', letter: 'F' },
    { sid: 'BA', rights: 'FA', icacls: '*S-1-5-32-544', letter: 'F' },
    { sid, rights: RIGHTS[rights], icacls: `*${sid}`, letter: rights },
  ].slice(0, sid === 'SY' ? 2 : 3);
  const sddl = `O:BAD:PAI${grants.map((grant) => `(A;${inherited};${grant.rights};;;${grant.sid})`).join('')}`;
  const flags = inherited === '' ? '' : '(OI)(CI)';
  const words = grants.map(({ icacls, letter }) => `${icacls}:${flags}${letter}`).join(' ');
  // Whoever made it could always change its rights, had he remained its owner.
  const owner = `icacls "${target}" /setowner *S-1-5-32-544`;
  return step(
    `${owner} && icacls "${target}" /inheritance:r /grant:r ${words}`,
    () => rightsOf(target).replace(/G:[^:]*(?=D:)/, '') === sddl,
    () => setRights(target, sddl),
  );
}

function folderStep(folder: string): Step {
  const make = (): void => {
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new SteepError('PERMISSION_DENIED', `cannot make ${folder}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  return step(`mkdir "${folder}"`, () => existsSync(folder), make);
}

/** What lies elsewhere keeps its rights, and lets the service read besides. */
function readStep(file: string, sid: string): Step {
  return step(
    `icacls "${file}" /grant *${sid}:RX`,
    () => !existsSync(file) || sid === 'SY' || letsRead(rightsOf(file), sid),
    () => setRights(file, `${rightsOf(file)}(A;;${RIGHTS.RX};;;${sid})`),
  );
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

const SETTINGS: readonly Setting[] = [
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
