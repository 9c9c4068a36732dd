/** The service under launchd: a daemon of the machine, or an agent of a user. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SteepError } from '../lib/errors.ts';
import { readSystemLog } from './launchd-log.ts';
import { LAUNCHD_LABEL, plistText } from './launchd-plist.ts';
import { launchdState } from './launchd-state.ts';
import { makeUserStep, removeUserSteps } from './macos-user.ts';
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
import { commandStep, folderStep, removeStep, writeStep } from './steps.ts';
import { askTool } from './tool.ts';
import { SERVICE_USER, SHARED_SOCKET } from './unix-socket.ts';

const LIBRARY = '/Library';
const DAEMON = `LaunchDaemons/${LAUNCHD_LABEL}.plist`;
const AGENT = `LaunchAgents/${LAUNCHD_LABEL}.plist`;
const GONE_LIMIT_MS = 20_000;
const POLL_MS = 50;
/** launchctl: the process was told, and is not gone yet. */
const IN_PROGRESS = 36;

/** `library`: the machine's /Library, for tests that have none. */
export function launchdManager(scope: ServiceScope, env: Env, library = LIBRARY): ServiceManager {
  return new Launchd(scope, env, library);
}

/** The user of the machine's service; undefined: none is installed. */
export function launchdUser(plist = path.posix.join(LIBRARY, DAEMON)): string | undefined {
  return found(plist, /<key>UserName<\/key>\s*<string>([^<]+)</);
}

function programOf(plist: string): string | undefined {
  return found(plist, /<key>ProgramArguments<\/key>\s*<array>\s*<string>([^<]+)</);
}

function found(plist: string, pattern: RegExp): string | undefined {
  return existsSync(plist) ? pattern.exec(readFileSync(plist, 'utf8'))?.[1] : undefined;
}

class Launchd implements ServiceManager {
  readonly name = 'launchd';
  readonly knowsReady = false;
  readonly scope: ServiceScope;
  private readonly plist: string;
  private readonly steep: string;
  private readonly domain: string;
  private readonly target: string;

  constructor(scope: ServiceScope, env: Env, library: string) {
    this.scope = scope;
    const own = path.posix.join(env['HOME'] ?? '/', 'Library');
    this.plist = scope === 'system' ? path.posix.join(library, DAEMON) : path.posix.join(own, AGENT);
    this.steep = path.posix.join(scope === 'system' ? library : own, 'Application Support/steep');
    this.domain = scope === 'system' ? 'system' : `gui/${currentUser().uid}`;
    this.target = `${this.domain}/${LAUNCHD_LABEL}`;
  }

  installation(options: ServiceOptions): { before: Step[]; after: Step[] } {
    const user = options.runAs ?? SERVICE_USER;
    const system = this.scope === 'system';
    const inSteep = options.stateDir.startsWith(`${this.steep}/`);
    const state = inSteep ? path.posix.join(this.steep, 'state') : options.stateDir;
    const folders = [
      { folder: state, mode: 0o700 },
      { folder: path.posix.join(this.steep, 'run'), mode: 0o755 }, // the socket's, for those whom ipc.group lets in
    ];
    return {
      before: [
        ...(system && options.runAs === undefined ? [makeUserStep] : []),
        ...(system ? grants({ user, before: launchdUser(this.plist) }, folders, options) : []),
        ...(system && user !== 'root' ? [] : [folderStep(state, 0o700)]), // given nothing, launchd needs it
      ],
      after: [
        writeStep(this.plist, plistText(options, system ? user : undefined, state)),
        commandStep(['launchctl', 'enable', this.target], () => this.isEnabled()),
      ],
    };
  }

  removal(): Step[] {
    return [
      {
        title: `launchctl bootout ${this.target}`,
        isDone: async () => (await this.printed()) === undefined,
        run: () => this.stop(),
      },
      // The lock of the address that other programs know: it lies where nothing cleans up.
      ...(this.scope === 'system' ? [removeStep(`${SHARED_SOCKET}.lock`)] : []),
      ...(launchdUser(this.plist) === SERVICE_USER
        ? [...takeBack(SERVICE_USER, [this.steep]), ...removeUserSteps]
        : []),
      // At the end: without it nobody could say `uninstall` again.
      removeStep(this.plist),
    ];
  }

  kept(): string[] {
    return this.scope === 'system' && existsSync(this.steep) ? [this.steep] : [];
  }

  commandAs(user = SERVICE_USER, command: readonly string[]): string[] | undefined {
    return this.scope === 'user' ? undefined : ['sudo', '-n', '-H', '-u', user, '--', ...command];
  }

  async state(): Promise<ServiceState> {
    const installed = existsSync(this.plist);
    const printed = installed ? await this.printed() : undefined;
    return launchdState(printed, {
      installed,
      enabled: installed && (await this.isEnabled()),
      user: launchdUser(this.plist),
    });
  }

  async start(): Promise<void> {
    this.refuseAbsent();
    if ((await this.printed()) === undefined) await this.tell('bootstrap', this.domain, this.plist);
    else await this.tell('kickstart', this.target);
  }

  /** Out of launchd's hands, so that nothing starts it again before `start` or the next boot. */
  async stop(): Promise<void> {
    this.refuseAbsent();
    if ((await this.printed()) === undefined) return;
    await this.tell('bootout', this.target);
    const deadline = Date.now() + GONE_LIMIT_MS;
    while ((await this.printed()) !== undefined) {
      if (Date.now() > deadline)
        throw new SteepError('TIMEOUT', `the daemon did not end within ${GONE_LIMIT_MS / 1000} s`);
      await Bun.sleep(POLL_MS);
    }
  }

  /** launchd reads a property list only when it takes it in. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async reload(): Promise<void> {
    this.refuseAbsent();
    await this.tell('kill', 'SIGHUP', this.target);
  }

  logs(query: LogQuery): AsyncIterable<LogEntry> {
    return readSystemLog(path.posix.basename(programOf(this.plist) ?? 'steep-repl'), query);
  }

  advice(): string[] {
    return this.scope === 'user' ? [`it runs while ${currentUser().name} is logged in`] : [];
  }

  withRights(command: string): string {
    return this.scope === 'system' && !currentUser().privileged ? `sudo ${command}` : command;
  }

  /** Throws PERMISSION_DENIED for whoever is not root: launchctl then calls it an input/output error, too. */
  private async tell(...words: string[]): Promise<void> {
    const { code, stderr } = await askTool(['launchctl', ...words]);
    if (code === 0 || code === IN_PROGRESS) return;
    const denied = this.scope === 'system' && !currentUser().privileged;
    const said = stderr.trim().split('\n')[0] || `exit code ${code}`;
    throw new SteepError(denied ? 'PERMISSION_DENIED' : 'FAILED', `launchctl: ${said}`);
  }

  private refuseAbsent(): void {
    if (existsSync(this.plist)) return;
    throw new SteepError('NOT_RUNNING', `no service of this ${this.scope} is installed`, {
      hint: this.withRights(`steep-repl install${this.scope === 'user' ? ' --user' : ''}`),
    });
  }

  /** Undefined: launchd has not taken it in. */
  private async printed(): Promise<string | undefined> {
    const { code, stdout } = await askTool(['launchctl', 'print', this.target]);
    return code === 0 ? stdout : undefined;
  }

  private async isEnabled(): Promise<boolean> {
    const { stdout } = await askTool(['launchctl', 'print-disabled', this.domain]);
    const [, verdict] = new RegExp(`"${LAUNCHD_LABEL}" => (\\w+)`).exec(stdout) ?? [];
    return existsSync(this.plist) && verdict !== 'disabled' && verdict !== 'true';
  }
}
