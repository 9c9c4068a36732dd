/**
 * The operating system's service: how it is installed and asked about (ServiceManager), and how the process of the
 * daemon speaks with the manager that started it (ServiceHost). Neutral: systemd, launchd and the SCM fit in.
 */
import type { LogLevel } from '../lib/log.ts';

/** The machine's service, or one user's own. */
export type ServiceScope = 'system' | 'user';

/** What the service is to run, as `install` found it. Paths are absolute. */
export interface ServiceOptions {
  executable: string;
  config: string;
  /** The user it runs as; undefined: the platform's usual one. Without meaning for a user's own service. */
  runAs: string | undefined;
  stateDir: string;
  /** Whether the daemon can be asked over IPC. */
  answers: boolean;
  /** The private key of grpc.tls, which is given to the service's user; undefined: there is none (yet). */
  keyFile: string | undefined;
  /** Files that the daemon reads, and folders of sockets that it makes, wherever they lie. */
  reads: readonly string[];
  writes: readonly string[];
}

/** One thing that `install` or `uninstall` does, as it is printed and as it is done. */
export interface Step {
  /** One line: a command as one would type it, or `write FILE (mode 0644)`. */
  readonly title: string;
  /** Of a file that is written. */
  readonly content?: string;
  /** True: nothing to do, it is so already. */
  isDone(): boolean | Promise<boolean>;
  /** Throws PERMISSION_DENIED, FAILED. */
  run(): void | Promise<void>;
}

export type ServiceActivity = 'active' | 'starting' | 'stopping' | 'failed' | 'inactive';

export interface ServiceState {
  installed: boolean;
  /** Starts by itself with the machine (or with the user's session). */
  enabled: boolean;
  activity: ServiceActivity;
  pid: number | undefined;
  /** Of this activity, where the manager knows. */
  since: Date | undefined;
  /** What the manager says besides: `exit code 2`, `killed by SIGKILL`, `restarts: 3`. */
  detail: string | undefined;
  /** The user it runs as, where the manager tells. */
  user: string | undefined;
}

export interface LogQuery {
  /** That many of the newest. */
  lines: number;
  since: Date | undefined;
  /** Goes on with what comes, until the reader stops asking. */
  follow: boolean;
}

export interface LogEntry {
  time: Date;
  level: LogLevel;
  text: string;
}

/** Throws from all methods that ask or do: PERMISSION_DENIED, TIMEOUT, FAILED, and NOT_RUNNING for what is not installed. */
export interface ServiceManager {
  /** As `status` names it: systemd, launchd, SCM. */
  readonly name: string;
  readonly scope: ServiceScope;
  /** Whether `active` means that the daemon said it is ready; otherwise it has to be asked. */
  readonly knowsReady: boolean;
  /** The steps of `install`, in order: those `before` give the service's user what it needs, so that it can be checked. */
  installation(options: ServiceOptions): { before: Step[]; after: Step[] };
  /** The steps of `uninstall`, in order; the service was stopped before. */
  removal(): Step[];
  /** What `uninstall` leaves, on purpose: configuration and state. */
  kept(): string[];
  /** A command line that runs another as the service's user; undefined where the platform has no such thing. */
  commandAs(user: string | undefined, command: readonly string[]): string[] | undefined;
  state(): Promise<ServiceState>;
  /** Resolves when the daemon is ready, as far as the manager knows. Throws FAILED when it did not become so. */
  start(): Promise<void>;
  /** Resolves when the process has ended. */
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** Lets the daemon read its configuration again. */
  reload(): Promise<void>;
  /** From old to new. */
  logs(query: LogQuery): AsyncIterable<LogEntry>;
  /** Things to know after `install`: sentences, with the command where there is one. */
  advice(): string[];
  /** How to run this command with the rights that it lacked: `sudo steep-repl start`. */
  withRights(command: string): string;
}

/** What a service manager wants of the daemon, where it says so by calls instead of signals. */
export type ServiceControl = { kind: 'reload' } | { kind: 'stop'; reason: string };

/** The daemon's side. Every member may be called at any time; none throws. */
export interface ServiceHost {
  ready(): void;
  /** One line for the manager's own status display. */
  status(text: string): void;
  /** Followed by `ready`. */
  reloading(): void;
  stopping(): void;
  /** The event loop lives; to be called every `watchdogMs`, where that is defined. */
  alive(): void;
  readonly watchdogMs: number | undefined;
  /** Where lines of the log go; undefined: to stderr. */
  readonly log: ((line: string, level: LogLevel) => void) | undefined;
  /** Tells the manager that this is the end; the exit code to end with. */
  ended(code: number): number;
}
