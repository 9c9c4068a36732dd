/** Everything that differs between operating systems, behind one interface; `index.ts` picks the implementation. */
import type { Server, Socket } from 'node:net';
import type { ServiceControl, ServiceHost, ServiceManager, ServiceScope } from './service.ts';

export type Env = Readonly<Record<string, string | undefined>>;

/** A folder for the machine's services, and one for the user at the keyboard (undefined: no home). */
export interface Places {
  system: string;
  user: string | undefined;
}

export interface OsUser {
  name: string;
  /** Numeric user id; undefined on Windows. */
  uid: number | undefined;
  /** May act for the whole machine: root, or an elevated administrator. */
  privileged: boolean;
}

/** Who is at the other end of a local connection, as the kernel says. */
export interface Peer {
  user: OsUser;
  /** Whether it belongs to the group that the door was opened for. */
  inGroup: boolean;
}

/** Where the daemon answers local programs: clients try them in this order. */
export interface IpcAddresses {
  /** Only we can make anything there; undefined where the platform has no such place for this user. */
  private: string | undefined;
  /** Where other Steep programs look. */
  shared: string | undefined;
}

export interface IpcAccess {
  /** Permission bits of a Unix socket. */
  mode: number;
  /** The group that has access too. */
  group: string | undefined;
}

/** What lets others in where nobody else should be. */
export interface Exposure {
  reason: string;
  /** The command to type. */
  remedy: string;
}

/** Held until `release` or the end of the process, however it ends. */
export interface FileLock {
  readonly release: () => void;
}

export interface Platform {
  readonly os: 'linux' | 'macos' | 'windows';
  /** Folders that may hold config.yaml. */
  configDirs(env: Env): Places;
  /** Parents of the default `state_dir`. */
  stateBases(env: Env): Places;
  /** Folders for PID files and sockets; undefined where the platform has none. */
  runtimeDirs(env: Env): { system: string | undefined; user: string | undefined };
  /** The user the process really runs as; environment variables are not believed. */
  currentUser(): OsUser;
  /** What lets someone other than the owner, root and us change this file or folder; undefined if nobody can. */
  writableByOthers(path: string): Exposure | undefined;
  /**
   * The same of what is ours in a folder, such as /tmp, where others can make files, but not replace those of others.
   * `trustGroup`: a group that may write it was meant to, as /usr/local belongs to one on Debian.
   */
  replaceableByOthers(folder: string, trustGroup?: boolean): Exposure | undefined;
  /**
   * What lets someone other than the user whose file it should be (we, unless told), root and a group that root chose
   * read this file; undefined if nobody can.
   */
  readableByOthers(path: string, uid?: number): Exposure | undefined;
  /** Locks a file (made 0600 if absent, never removed), or says that another living process holds it. */
  lockFile(path: string): FileLock | 'held';
  ipcAddresses(scope: 'system' | 'user', env: Env): IpcAddresses;
  /**
   * Listens at an address that nobody else has, open to nobody but us (and `access`) from its first moment.
   * Throws CONFLICT when a living daemon answers there, FAILED when something else lies there.
   */
  listenLocally(server: Server, address: string, access: IpcAccess): Promise<AsyncDisposable>;
  /** Undefined where the platform cannot tell. */
  peerOf(socket: Socket, group: string | undefined): Peer | undefined;
  /** Why a client should not believe what answers at this address; undefined if it may. */
  distrust(address: string): string | undefined;
  /** The same of the process that took the call: what lies at an address may change before it is dialled. */
  distrustPeer(socket: Socket): string | undefined;
  /** `name (pid 123)` of the process that listens on a local TCP port, where it can be known. */
  listenerOf(port: number): string | undefined;
  /** The manager of the machine's service, or of this user's. Throws FAILED where the platform has no such thing. */
  serviceManager(scope: ServiceScope, env: Env): ServiceManager;
  /** What connects this process with the service manager that started `steep-repl run`; undefined: nobody did. */
  serviceHost(env: Env): ServiceHost | undefined;
  /**
   * Connects with a manager that starts `steep-repl service` because it wants to speak with its process from the first
   * moment, and passes on what it wants. Throws FAILED when it was not the manager who started us.
   */
  connectToServiceManager?: (obey: (control: ServiceControl) => void) => Promise<ServiceHost>;
}
