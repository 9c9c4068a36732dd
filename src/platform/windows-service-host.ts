/**
 * The process of the service, as the SCM wants it: a thread that belongs to the SCM's dispatcher, a main function and
 * a handler that it calls, and a state that is told in time. The thread runs the dispatcher itself, so JavaScript is
 * never blocked; both functions are called back on the thread of JavaScript and return nothing (what a callback from
 * another thread returns is undefined, therefore not RegisterServiceCtrlHandlerEx).
 */
import { dlopen, FFIType, JSCallback, type Pointer } from 'bun:ffi';
import { SteepError } from '../lib/errors.ts';
import type { ServiceControl, ServiceHost } from './service.ts';
import { kernel32, structure, wide, windowsError } from './windows-api.ts';
import { eventWriter } from './windows-event-log.ts';

const { i32, u32 } = FFIType;
const p = FFIType.ptr;

const OWN_PROCESS = 0x10;
const STATE = { stopped: 1, starting: 2, stopping: 3, running: 4 } as const;
const CONTROL = { stop: 1, interrogate: 4, shutdown: 5, paramChange: 6, preshutdown: 15 } as const;
/** Stop, shutdown, change of parameters, and the notice of a shutdown that comes with time to obey. */
const ACCEPTED = 0x1 | 0x4 | 0x8 | 0x100;

/** How long the SCM may wait before it takes us for dead: a stop is over after ten seconds. */
const START_HINT_MS = 30_000;
const STOP_HINT_MS = 15_000;

const SPECIFIC_ERROR = 1066;
/** Exit codes after which a restart would change nothing: done, and a configuration that cannot be used. */
const FINAL_CODES = new Set([0, 2]);

const SCM_LIMIT_MS = 30_000;
const POLL_MS = 50;

/** Resolves once the SCM has called us. Throws FAILED when it was not the SCM who started this process. */
export async function connectToScm(
  name: string,
  obey: (control: ServiceControl) => void,
): Promise<ServiceHost> {
  const { RegisterServiceCtrlHandlerW, SetServiceStatus } = dlopen('advapi32.dll', {
    RegisterServiceCtrlHandlerW: { args: [p, p], returns: p },
    SetServiceStatus: { args: [p, p], returns: i32 },
  }).symbols;
  const called = Promise.withResolvers<void>();
  let handle: Pointer | null = null;
  let last = structure();
  let stopping = false;
  const report = (state: number, hint: number, exitCode = 0, ownExitCode = 0): void => {
    const accepted = state === STATE.running ? ACCEPTED : 0;
    last = structure(OWN_PROCESS, state, accepted, exitCode, ownExitCode, 0, hint);
    SetServiceStatus(handle, last);
  };

  const handler = new JSCallback(
    (control: number) => {
      if (control === CONTROL.interrogate) SetServiceStatus(handle, last);
      else if (control === CONTROL.paramChange) obey({ kind: 'reload' });
      else {
        const reason = NAMES[control];
        if (reason === undefined) return;
        stopping = true;
        report(STATE.stopping, STOP_HINT_MS);
        obey({ kind: 'stop', reason });
      }
    },
    { args: [u32], returns: FFIType.void, threadsafe: true },
  );
  const main = new JSCallback(
    () => {
      handle = RegisterServiceCtrlHandlerW(wide(name), handler.ptr) as Pointer | null;
      report(STATE.starting, START_HINT_MS);
      called.resolve();
    },
    { args: [u32, p], returns: FFIType.void, threadsafe: true },
  );
  const dispatcher = startDispatcher(name, main);
  await firstOf(called.promise, dispatcher);

  const host: ServiceHost = {
    log: eventWriter(name),
    watchdogMs: undefined,
    ready() {
      if (!stopping) report(STATE.running, 0); // a reload may still be on its way
    },
    stopping() {}, // what the SCM asked for was told at once; what it did not ask for is a crash
    status() {},
    reloading() {},
    alive() {},
    /** Without a word to the SCM, the end counts as a crash: the service is started again. */
    ended(code) {
      if (FINAL_CODES.has(code)) report(STATE.stopped, 0, code === 0 ? 0 : SPECIFIC_ERROR, code);
      return code;
    },
  };
  // What the dispatcher's thread uses must live as long as the host.
  return Object.assign(host, { held: [handler, main, dispatcher] });
}

const NAMES: Record<number, string> = {
  [CONTROL.stop]: 'stop',
  [CONTROL.shutdown]: 'shutdown',
  [CONTROL.preshutdown]: 'shutdown',
};

interface Dispatcher {
  thread: Pointer;
  /** The names and functions that the thread reads as long as it runs. */
  table: Buffer;
}

/** A thread that is StartServiceCtrlDispatcher and nothing else: it returns when the service has stopped. */
function startDispatcher(name: string, main: JSCallback): Dispatcher {
  const { GetModuleHandleW, GetProcAddress, CreateThread } = kernel32();
  const table = structure(wide(name), BigInt(Number(main.ptr)), null, null);
  const dll = GetModuleHandleW(wide('advapi32.dll')) as Pointer | null;
  const dispatch = GetProcAddress(dll, Buffer.from('StartServiceCtrlDispatcherW\0')) as Pointer | null;
  const thread = CreateThread(null, 0n, dispatch, table, 0, null) as Pointer | null;
  if (thread === null) throw windowsError('a thread for the service control manager');
  return { thread, table };
}

/** The call of the SCM, or the end of the dispatcher, which returns at once where there is no SCM. */
async function firstOf(called: Promise<void>, { thread }: Dispatcher): Promise<void> {
  const deadline = performance.now() + SCM_LIMIT_MS;
  const wasCalled = called.then(() => true);
  while (!(await Promise.race([wasCalled, Bun.sleep(POLL_MS).then(() => false)]))) {
    const ended = kernel32().WaitForSingleObject(thread, 0) === 0;
    if (ended || performance.now() > deadline)
      throw new SteepError('FAILED', 'the service control manager did not start this process', {
        hint: 'steep-repl start  starts the service; steep-repl run  is the daemon without it',
      });
  }
}
