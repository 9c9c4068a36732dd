import { umask } from 'node:process';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import { type Daemon, startDaemon } from '../daemon/daemon.ts';
import { SteepError } from '../lib/errors.ts';
import { chooseFormat, createLogger, type Logger, type RootLogger } from '../lib/log.ts';
import { type ServiceHost, thisPlatform } from '../platform/index.ts';
import { defineCommand } from './command.ts';
import { Orders } from './orders.ts';
import { configArg, EXIT, exitCodeOf, printError, printText } from './output.ts';
import { version } from './version-info.ts';

/** A stop that takes longer is ended: the service manager would do it anyway, and less politely. */
const STOP_LIMIT_MS = 10_000;

export const command = defineCommand({
  args: { config: configArg, debug: { type: 'boolean', description: 'Log at level debug' } },
  async run({ config: path, debug }) {
    const host = thisPlatform().serviceHost(process.env);
    const orders = new Orders();
    return process.exit(await reported(host, () => runDaemon({ path, debug: debug === true, orders, host })));
  },
});

/** The exit code of a run, as the service manager that started it is to see it; it hears the reason of a refusal too. */
async function reported(host: ServiceHost | undefined, run: () => Promise<number>): Promise<number> {
  if (host === undefined) return await run();
  try {
    return host.ended(await run());
  } catch (thrown) {
    const error = SteepError.from(thrown);
    host.log?.(`${error.message}${error.hint === undefined ? '' : `  hint: ${error.hint}`}`, 'error');
    host.status(error.message);
    printError(error);
    return host.ended(exitCodeOf(error));
  }
}

export interface RunOptions {
  /** The argument of --config. */
  path: string | undefined;
  debug: boolean;
  orders: Orders;
  /** The service manager that started this process. */
  host: ServiceHost | undefined;
}

/** Runs the daemon until an order or a failure ends it; the exit code. Throws what startDaemon and loadConfig throw. */
export async function runDaemon(options: RunOptions): Promise<number> {
  const { path, debug, orders, host } = options;
  umask(0o077);
  const platform = thisPlatform();
  const { env } = process;
  const load = (): LoadedConfig => {
    const loaded = loadConfig({ path, env, platform });
    if (debug) loaded.config.log.level = 'debug';
    return loaded;
  };
  const loaded = load();
  if (!loaded.config.enabled) {
    const message = `steep-repl is switched off: enabled is false in ${loaded.file}`;
    if (host?.log) host.log(message, 'info');
    else printText(message, 'stderr');
    host?.ready(); // or its end would look like a failed start, and be tried again
    return EXIT.ok;
  }
  orders.takeSignals();
  const log = loggerFor(loaded.config, host);
  const daemon = await startDaemon({ loaded, load, log, platform, env, version, host });
  return await runUntilStopped(daemon, orders, log.component('daemon'));
}

function loggerFor(
  { log: { level, format }, postgresql }: LoadedConfig['config'],
  host: ServiceHost | undefined,
): RootLogger {
  const log = host?.log
    ? createLogger({ level, format: format === 'auto' ? 'message' : format, write: host.log })
    : createLogger({ level, format: chooseFormat(format, process.env), colour: wantsColour() });
  if (postgresql.password !== undefined) log.redact(postgresql.password);
  return log;
}

function wantsColour(): boolean {
  process.stderr.on('error', () => {}); // whoever read the log is gone: that is no reason to stop
  return process.stderr.isTTY && !process.env['NO_COLOR'];
}

/** Obeys orders until one of them, or a failure, ends the daemon; the exit code. */
async function runUntilStopped(daemon: Daemon, orders: Orders, log: Logger): Promise<number> {
  const crashed = new Promise<never>((_resolve, reject) => {
    process.on('uncaughtException', reject);
    process.on('unhandledRejection', reject);
  });
  let failure: SteepError | undefined;
  let reason = 'failure';
  try {
    for (;;) {
      const order = await Promise.race([orders.next(), daemon.failed, crashed]);
      if (order.kind === 'stop') {
        reason = order.reason;
        break;
      }
      tryReload(daemon);
    }
  } catch (thrown) {
    failure = SteepError.from(thrown);
    log.error(failure.message, { hint: failure.hint, stack: stackOf(failure) });
  }
  log.info('stopping', { reason });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(EXIT.failed));
  setTimeout(() => process.exit(EXIT.failed), STOP_LIMIT_MS).unref();
  await daemon.stop(reason, failure);
  log.info('stopped');
  return failure === undefined ? EXIT.ok : EXIT.failed;
}

/** A file that cannot be used changes nothing; the daemon has logged and audited it. */
function tryReload(daemon: Daemon): void {
  try {
    daemon.reload();
  } catch {
    // Nobody waits for an answer to a signal.
  }
}

/** A defect is logged with where it happened. */
function stackOf(error: SteepError): string | undefined {
  return error.code === 'INTERNAL_ERROR' && error.cause instanceof Error ? error.cause.stack : undefined;
}
