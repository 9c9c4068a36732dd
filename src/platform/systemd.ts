/** The service under systemd: one unit, of the machine or of a user. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SteepError } from '../lib/errors.ts';
import { groupOfUser, userId } from './libc.ts';
import type { Env } from './platform.ts';
import { currentUser } from './posix.ts';
import type {
  LogEntry,
  LogQuery,
  ServiceManager,
  ServiceOptions,
  ServiceScope,
  ServiceState,
  Step,
} from './service.ts';
import { grants, takeBack } from './service-user.ts';
import { commandStep, removeStep, writeStep } from './steps.ts';
import { readJournal } from './systemd-journal.ts';
import { NOT_INSTALLED, SHOWN_PROPERTIES, stateFrom } from './systemd-state.ts';
import { STATE_BASE, unitText } from './systemd-unit.ts';
import { runTool } from './tool.ts';
import { SERVICE_USER, SHARED_SOCKET } from './unix-socket.ts';

const UNIT = 'steep-repl.service';
const SYSTEM_UNITS = '/etc/systemd/system';
const CONFIG_FOLDER = '/etc/steep';
/** By which `uninstall` knows that `install` made this user. */
const COMMENT = 'steep-repl service, made by steep-repl install';

const makeUser = commandStep(
  [
    ...'useradd --system --user-group --no-create-home --shell /usr/sbin/nologin'.split(' '),
    `--home-dir=${STATE_BASE}`,
    `--comment=${COMMENT}`,
    SERVICE_USER,
  ],
  () => userId(SERVICE_USER) !== undefined,
);

export function systemdManager(scope: ServiceScope, env: Env): ServiceManager {
  return new Systemd(scope, env);
}

/** The user of the machine's service; undefined: none is installed. */
export function systemdUser(): string | undefined {
  return userIn(textOf(path.join(SYSTEM_UNITS, UNIT)));
}

function userIn(unit: string | undefined): string | undefined {
  return /^User=(.+)$/m.exec(unit ?? '')?.[1];
}

function textOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

class Systemd implements ServiceManager {
  readonly name = 'systemd';
  readonly knowsReady = true;
  readonly scope: ServiceScope;
  private readonly env: Env;
  private readonly unitFile: string;
  private readonly systemctl: readonly string[];

  constructor(scope: ServiceScope, env: Env) {
    this.scope = scope;
    this.env = env;
    const home = env['XDG_CONFIG_HOME'] || path.join(env['HOME'] ?? '/', '.config');
    this.unitFile = path.join(scope === 'system' ? SYSTEM_UNITS : path.join(home, 'systemd/user'), UNIT);
    this.systemctl = ['systemctl', '--no-ask-password', ...(scope === 'user' ? ['--user'] : [])];
  }

  installation(options: ServiceOptions): { before: Step[]; after: Step[] } {
    const user = options.runAs ?? SERVICE_USER;
    const ownState = options.stateDir.startsWith(`${STATE_BASE}/`);
    return {
      before:
        this.scope === 'user'
          ? []
          : [
              ...(options.runAs === undefined ? [makeUser] : []),
              ...grants(
                { user, before: userIn(this.unit()) },
                [{ folder: ownState ? STATE_BASE : options.stateDir, mode: 0o700 }],
                options,
              ),
            ],
      after: [
        this.written(unitText(options, this.scope, user)),
        this.step(['daemon-reload'], async () => {
          const { LoadState, NeedDaemonReload } = await this.show(['LoadState', 'NeedDaemonReload']);
          return LoadState === 'loaded' && NeedDaemonReload === 'no';
        }),
        this.step(['enable', UNIT], async () => (await this.state()).enabled),
      ],
    };
  }

  removal(): Step[] {
    const user = userIn(this.unit());
    const madeByUs = user === SERVICE_USER && readFileSync('/etc/passwd', 'utf8').includes(`:${COMMENT}:`);
    return [
      this.step(['disable', UNIT], async () => !(await this.state()).enabled),
      this.step(['reset-failed', UNIT], async () => (await this.state()).activity !== 'failed'),
      removeStep(this.unitFile),
      this.step(['daemon-reload'], async () => (await this.show(['LoadState']))['LoadState'] === 'not-found'),
      // The lock of the address that other programs know: it lies where nothing cleans up.
      ...(this.scope === 'system' ? [removeStep(`${SHARED_SOCKET}.lock`)] : []),
      ...(madeByUs
        ? [
            ...takeBack(user, [CONFIG_FOLDER, STATE_BASE]),
            commandStep(['userdel', user], () => userId(user) === undefined),
          ]
        : []),
    ];
  }

  kept(): string[] {
    return (this.scope === 'system' ? [CONFIG_FOLDER, STATE_BASE] : []).filter((folder) =>
      existsSync(folder),
    );
  }

  commandAs(user = SERVICE_USER, command: readonly string[]): string[] | undefined {
    const group = groupOfUser(user);
    if (this.scope === 'user' || group === undefined) return undefined;
    return [
      'setpriv',
      `--reuid=${user}`,
      `--regid=${group}`,
      '--init-groups',
      '--reset-env',
      '--',
      ...command,
    ];
  }

  async state(): Promise<ServiceState> {
    if (this.unit() === undefined) return NOT_INSTALLED;
    return stateFrom(await this.show(SHOWN_PROPERTIES));
  }

  async start(): Promise<void> {
    await this.act('start');
  }

  async stop(): Promise<void> {
    await this.act('stop');
  }

  async restart(): Promise<void> {
    await this.act('restart');
  }

  async reload(): Promise<void> {
    await this.act('reload');
  }

  logs(query: LogQuery): AsyncIterable<LogEntry> {
    return readJournal([this.scope === 'system' ? `--unit=${UNIT}` : `--user-unit=${UNIT}`], query);
  }

  advice(): string[] {
    const { name } = currentUser();
    if (this.scope === 'system' || existsSync(`/var/lib/systemd/linger/${name}`)) return [];
    return [
      `it runs only while ${name} is logged in; to have it from boot on:  sudo loginctl enable-linger ${name}`,
    ];
  }

  withRights(command: string): string {
    return this.scope === 'system' && !currentUser().privileged ? `sudo ${command}` : command;
  }

  private unit(): string | undefined {
    return textOf(this.unitFile);
  }

  private async act(verb: string): Promise<void> {
    if (this.unit() === undefined)
      throw new SteepError('NOT_RUNNING', `no service of this ${this.scope} is installed`, {
        hint: this.withRights(`steep-repl install${this.scope === 'user' ? ' --user' : ''}`),
      });
    await this.ask([verb, UNIT]);
  }

  private async show(properties: readonly string[]): Promise<Record<string, string>> {
    const text = await this.ask(['show', UNIT, `--property=${properties.join(',')}`]);
    return Object.fromEntries(
      text
        .split('\n')
        .filter((line) => line.includes('='))
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** Where no systemd runs, a unit is worth nothing: it is asked first, and the file is not written in vain. */
  private written(text: string): Step {
    const step = writeStep(this.unitFile, text);
    return {
      ...step,
      isDone: async () => {
        await this.show(['LoadState']);
        return await step.isDone();
      },
    };
  }

  private step(args: string[], isDone: () => Promise<boolean>): Step {
    return commandStep([...this.systemctl, ...args], isDone, () => this.environment());
  }

  private async ask(args: string[]): Promise<string> {
    try {
      return await runTool([...this.systemctl, ...args], this.environment());
    } catch (thrown) {
      const error = SteepError.from(thrown);
      if (!/connect to bus|not been booted with systemd/i.test(error.message)) throw error;
      throw new SteepError(
        'FAILED',
        `${error.message}; systemd does not run here for ${this.scope === 'user' ? currentUser().name : 'the machine'}`,
        {
          cause: error,
          hint:
            this.scope === 'user'
              ? 'log in as this user, not by su or sudo'
              : 'without systemd:  steep-repl run',
        },
      );
    }
  }

  /** Times in UTC; and a user who came by su or cron has a manager all the same. */
  private environment(): Record<string, string> {
    const folder = `/run/user/${currentUser().uid}`;
    const runtime = this.env['XDG_RUNTIME_DIR'] ?? (existsSync(folder) ? folder : undefined);
    return { TZ: 'UTC', ...(runtime === undefined ? {} : { XDG_RUNTIME_DIR: runtime }) };
  }
}
