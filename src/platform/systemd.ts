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
import { Systemctl } from './systemctl.ts';
import { readJournal } from './systemd-journal.ts';
import { NOT_INSTALLED, SHOWN_PROPERTIES, stateFrom } from './systemd-state.ts';
import { fieldOf, serviceUserCommand, stateFolder, unitText } from './systemd-unit.ts';
import { SERVICE_USER, SHARED_SOCKET } from './unix-socket.ts';

const UNIT = 'steep-repl.service';
const SYSTEM_UNITS = '/etc/systemd/system';
/** Of a package (.deb, .rpm): what lies in the folder above goes before it. */
const PACKAGED_UNIT = path.join('/usr/lib/systemd/system', UNIT);
/** By which `uninstall` knows that `install` made this user. */
const COMMENT = 'steep-repl service, made by steep-repl install';

const makeUser = commandStep(serviceUserCommand(COMMENT), () => userId(SERVICE_USER) !== undefined);

export function systemdManager(scope: ServiceScope, env: Env): ServiceManager {
  return new Systemd(scope, env);
}

/** The user of the machine's service; undefined: none is installed. */
export function systemdUser(): string | undefined {
  return fieldOf(textOf(path.join(SYSTEM_UNITS, UNIT)) ?? textOf(PACKAGED_UNIT), 'User');
}

function textOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

class Systemd implements ServiceManager {
  readonly name = 'systemd';
  readonly knowsReady = true;
  readonly scope: ServiceScope;
  private readonly unitFile: string;
  private readonly systemctl: Systemctl;

  constructor(scope: ServiceScope, env: Env) {
    this.scope = scope;
    const home = env['XDG_CONFIG_HOME'] || path.join(env['HOME'] ?? '/', '.config');
    this.unitFile = path.join(scope === 'system' ? SYSTEM_UNITS : path.join(home, 'systemd/user'), UNIT);
    this.systemctl = new Systemctl(scope, env);
  }

  installation(options: ServiceOptions): { before: Step[]; after: Step[] } {
    const user = options.runAs ?? SERVICE_USER;
    return {
      before:
        this.scope === 'user'
          ? []
          : [
              ...(options.runAs === undefined ? [makeUser] : []),
              ...grants(
                { user, before: fieldOf(this.unit(), 'User') },
                [{ folder: stateFolder(options), mode: 0o700 }],
                options,
              ),
            ],
      after: [
        this.written(unitText(options, this.scope, user)),
        this.systemctl.step(['daemon-reload'], async () => {
          const { LoadState, NeedDaemonReload } = await this.systemctl.show(UNIT, [
            'LoadState',
            'NeedDaemonReload',
          ]);
          return LoadState === 'loaded' && NeedDaemonReload === 'no';
        }),
        this.systemctl.step(['enable', UNIT], async () => (await this.state()).enabled),
      ],
    };
  }

  removal(): Step[] {
    const user = fieldOf(this.unit(), 'User');
    const madeByUs = user === SERVICE_USER && readFileSync('/etc/passwd', 'utf8').includes(`:${COMMENT}:`);
    return [
      this.systemctl.step(['disable', UNIT], async () => !(await this.state()).enabled),
      this.systemctl.step(['reset-failed', UNIT], async () => (await this.state()).activity !== 'failed'),
      // The lock of the address that other programs know: it lies where nothing cleans up.
      ...(this.scope === 'system' ? [removeStep(`${SHARED_SOCKET}.lock`)] : []),
      ...(madeByUs
        ? [
            ...takeBack(user, this.folders()),
            commandStep(['userdel', user], () => userId(user) === undefined),
          ]
        : []),
      // At the end: without a unit nobody could say `uninstall` again.
      removeStep(this.unitFile),
      this.systemctl.step(['daemon-reload'], async () => {
        const { LoadState, NeedDaemonReload } = await this.systemctl.show(UNIT, [
          'LoadState',
          'NeedDaemonReload',
        ]);
        return LoadState === 'not-found' || (this.packaged() !== undefined && NeedDaemonReload === 'no');
      }),
    ];
  }

  kept(): string[] {
    const dropIns = `${this.unitFile}.d`;
    const packaged = this.scope === 'system' ? [PACKAGED_UNIT] : [];
    return [...this.folders(), dropIns, ...packaged].filter((file) => existsSync(file));
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
    return stateFrom(await this.systemctl.show(UNIT, SHOWN_PROPERTIES));
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

  /** Of configuration and state. */
  private folders(): string[] {
    const unit = this.unit();
    return (['ConfigFolder', 'StateFolder'] as const).flatMap((key) => fieldOf(unit, key) ?? []);
  }

  private unit(): string | undefined {
    return textOf(this.unitFile) ?? this.packaged();
  }

  private packaged(): string | undefined {
    return this.scope === 'system' ? textOf(PACKAGED_UNIT) : undefined;
  }

  private async act(verb: string): Promise<void> {
    if (this.unit() === undefined)
      throw new SteepError('NOT_RUNNING', `no service of this ${this.scope} is installed`, {
        hint: this.withRights(`steep-repl install${this.scope === 'user' ? ' --user' : ''}`),
      });
    await this.systemctl.ask([verb, UNIT]);
  }

  /** Where no systemd runs, a unit is worth nothing: it is asked first, and the file is not written in vain. */
  private written(text: string): Step {
    const step = writeStep(this.unitFile, text);
    return {
      ...step,
      isDone: async () => {
        await this.systemctl.show(UNIT, ['LoadState']);
        // What a package brings is not written again: the next version of it would never be seen.
        if (!existsSync(this.unitFile) && this.packaged() === text) return true;
        return await step.isDone();
      },
    };
  }
}
