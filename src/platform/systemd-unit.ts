/** The text of the unit: what systemd is to know, and what the daemon may do. */
import path from 'node:path';
import type { ServiceOptions, ServiceScope } from './service.ts';
import { SERVICE_USER } from './unix-socket.ts';

/** Where the machine's daemon keeps its state unless told otherwise. */
export const STATE_BASE = '/var/lib/steep-repl';

export function unitText(options: ServiceOptions, scope: ServiceScope, user: string): string {
  const { executable, config, stateDir } = options;
  const command = (...args: string[]): string => [executable, ...args].map(argument).join(' ');
  const common = {
    Type: 'notify',
    ExecStart: command('run', '--config', config),
    // Unlike a signal, asking waits, and fails when the file cannot be used.
    ExecReload: options.answers ? command('reload', '--config', config) : '/bin/kill -HUP $MAINPID',
    Restart: 'on-failure',
    RestartSec: '1',
    // A configuration that cannot be used does not mend itself.
    RestartPreventExitStatus: '2',
    // The daemon ends by itself within 10 s of being asked.
    TimeoutStartSec: '30',
    TimeoutStopSec: '15',
    // What hangs does not answer SIGABRT either.
    WatchdogSec: '15',
    WatchdogSignal: 'SIGKILL',
    KillMode: 'mixed',
    SyslogIdentifier: 'steep-repl',
    UMask: '0077',
    // Each of these could make the runtime load other code or trust anybody.
    UnsetEnvironment:
      'BUN_OPTIONS BUN_BE_BUN BUN_INSPECT NODE_OPTIONS NODE_TLS_REJECT_UNAUTHORIZED LD_PRELOAD',
    Environment: `DO_NOT_TRACK=1 STEEP_SERVICE_SCOPE=${scope}`,
    LimitNOFILE: '65536',
  };
  const system = {
    User: user,
    RuntimeDirectory: 'steep-repl',
    RuntimeDirectoryMode: '0755',
    ...(isInside(stateDir, STATE_BASE) ? { StateDirectory: 'steep-repl', StateDirectoryMode: '0700' } : {}),
    ...hardening(options),
  };
  return [
    '# Of steep-repl’s package, or by steep-repl install. Own settings: a drop-in,  systemctl edit steep-repl',
    ...section('Unit', {
      Description: 'steep-repl: active-active PostgreSQL',
      // No Wants=: PostgreSQL may be anywhere. The order makes the daemon stop first, while it can still say so. Red Hat's
      // packages have the version in the name.
      ...(scope === 'system' ? { After: 'network.target postgresql.service postgresql-18.service' } : {}),
      StartLimitIntervalSec: '0',
    }),
    ...section('Service', { ...common, ...(scope === 'system' ? system : userHardening) }),
    ...section('Install', { WantedBy: scope === 'system' ? 'multi-user.target' : 'default.target' }),
    // systemd passes over it: for `uninstall`, which may find no configuration that can be used.
    ...section('X-Steep', { ConfigFolder: path.posix.dirname(config), StateFolder: stateFolder(options) }),
    '',
  ].join('\n');
}

/** Makes the user of the machine's service; `comment` says who made it. */
export function serviceUserCommand(comment: string): string[] {
  return [
    ...'useradd --system --user-group --no-create-home --shell /usr/sbin/nologin'.split(' '),
    `--home-dir=${STATE_BASE}`,
    `--comment=${comment}`,
    SERVICE_USER,
  ];
}

/** What belongs to the service's user: all of the usual place, or the folder that was configured. */
export function stateFolder({ stateDir }: ServiceOptions): string {
  return isInside(stateDir, STATE_BASE) ? STATE_BASE : stateDir;
}

/** What `install` wrote into a unit. */
export function fieldOf(
  unit: string | undefined,
  key: 'User' | 'ConfigFolder' | 'StateFolder',
): string | undefined {
  return new RegExp(`^${key}=(.+)$`, 'm').exec(unit ?? '')?.[1];
}

/** What a user's own systemd can enforce without rights. */
const userHardening = {
  NoNewPrivileges: 'yes',
  LockPersonality: 'yes',
  RestrictNamespaces: 'yes',
  RestrictRealtime: 'yes',
  RestrictSUIDSGID: 'yes',
  SystemCallArchitectures: 'native',
};

/**
 * All that a Bun executable bears; MemoryDenyWriteExecute it does not. Without PrivateTmp, because other Steep
 * programs look for the socket in /tmp.
 */
function hardening({ executable, config, reads, writes, stateDir }: ServiceOptions): Record<string, string> {
  const homes = ['/home', '/root', '/run/user'];
  const inHome = (file: string): boolean => homes.some((home) => isInside(file, home));
  const writable = [...new Set([...writes, ...(isInside(stateDir, STATE_BASE) ? [] : [stateDir])])];
  return {
    NoNewPrivileges: 'yes',
    CapabilityBoundingSet: '',
    AmbientCapabilities: '',
    ProtectSystem: 'strict',
    ReadWritePaths: ['/tmp', ...writable].map((file) => argument(`-${file}`)).join(' '),
    ProtectHome: writable.some(inHome)
      ? 'no'
      : [executable, config, ...reads].some(inHome)
        ? 'read-only'
        : 'yes',
    PrivateDevices: 'yes',
    DevicePolicy: 'closed',
    PrivateIPC: 'yes',
    ProtectKernelTunables: 'yes',
    ProtectKernelModules: 'yes',
    ProtectKernelLogs: 'yes',
    ProtectControlGroups: 'yes',
    ProtectClock: 'yes',
    ProtectHostname: 'yes',
    ProtectProc: 'invisible',
    RestrictNamespaces: 'yes',
    RestrictRealtime: 'yes',
    RestrictSUIDSGID: 'yes',
    RestrictAddressFamilies: 'AF_UNIX AF_INET AF_INET6 AF_NETLINK',
    LockPersonality: 'yes',
    RemoveIPC: 'yes',
    SystemCallArchitectures: 'native',
    // @privileged holds chown, by which ipc.group gets its socket.
    SystemCallFilter: '@system-service\nSystemCallFilter=~@privileged @resources\nSystemCallFilter=@chown',
    SystemCallErrorNumber: 'EPERM',
  };
}

function section(name: string, settings: Record<string, string>): string[] {
  return ['', `[${name}]`, ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)];
}

/** One word of a command line or list, in systemd's quoting. */
function argument(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

function isInside(file: string, folder: string): boolean {
  const relative = path.posix.relative(folder, file);
  return relative === '' || (!relative.startsWith('..') && !path.posix.isAbsolute(relative));
}
