/** The system user of the service on macOS, by dscl: there is no useradd. */
import { SteepError } from '../lib/errors.ts';
import { groupId, userId } from './libc.ts';
import type { Step } from './service.ts';
import { commandStep } from './steps.ts';
import { askTool, runTool } from './tool.ts';
import { SERVICE_USER } from './unix-socket.ts';

const USER = `/Users/${SERVICE_USER}`;
const GROUP = `/Groups/${SERVICE_USER}`;
/** By which `uninstall` knows that `install` made this user. */
const COMMENT = 'steep-repl service, made by steep-repl install';
/** Hidden, and below those of people; Apple's own end at 300. */
const IDS = { from: 350, to: 499 };

export const makeUserStep: Step = {
  title: `dscl . -create ${USER} and ${GROUP}, hidden, with a free id from ${IDS.from} on`,
  isDone: () => userId(SERVICE_USER) !== undefined,
  async run() {
    const id = await freeId();
    const set = (record: string, ...words: string[]): Promise<string> =>
      runTool(['dscl', '.', '-create', record, ...words]);
    await set(GROUP);
    await set(GROUP, 'PrimaryGroupID', id);
    await set(USER);
    await set(USER, 'UniqueID', id);
    await set(USER, 'PrimaryGroupID', id);
    await set(USER, 'RealName', COMMENT);
    await set(USER, 'UserShell', '/usr/bin/false');
    await set(USER, 'NFSHomeDirectory', '/var/empty');
    await set(USER, 'IsHidden', '1');
  },
};

export const removeUserSteps: readonly Step[] = [
  commandStep(['dscl', '.', '-delete', USER], async () => !(await isOurs())),
  commandStep(
    ['dscl', '.', '-delete', GROUP],
    () => groupId(SERVICE_USER) === undefined || userId(SERVICE_USER) !== undefined,
  ),
];

async function isOurs(): Promise<boolean> {
  const { code, stdout } = await askTool(['dscl', '.', '-read', USER, 'RealName']);
  return code === 0 && stdout.includes(COMMENT);
}

async function freeId(): Promise<string> {
  const taken = new Set<string>();
  for (const [folder, key] of [
    ['/Users', 'UniqueID'],
    ['/Groups', 'PrimaryGroupID'],
  ] as const) {
    const listed = await runTool(['dscl', '.', '-list', folder, key]);
    for (const [id] of listed.matchAll(/-?\d+$/gm)) taken.add(id);
  }
  for (let id = IDS.from; id <= IDS.to; id += 1) if (!taken.has(String(id))) return String(id);
  throw new SteepError('FAILED', `no id from ${IDS.from} to ${IDS.to} is free for the user ${SERVICE_USER}`, {
    hint: 'make a user yourself, and name it with --run-as',
  });
}
