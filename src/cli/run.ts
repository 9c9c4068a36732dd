import { umask } from 'node:process';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import { type Daemon, startDaemon } from '../daemon/daemon.ts';
import { SteepError } from '../lib/errors.ts';
import { chooseFormat, createLogger, type Logger, type RootLogger } from '../lib/log.ts';
import { type ServiceHost, thisPlatform } from '../platform/index.ts';
import { defineCommand } from './command.ts';
import { Orders } from './orders.ts';
import { configArg, EXIT, printText } from './output.ts';
import { version } from './version-info.ts';

/** A stop that takes longer is ended: the service manager would do it anyway, and less politely. */
const STOP_LIMIT_MS = 10_000;

export const command = defineCommand({
  args: { config: configArg, debug: { type: 'boolean', description: 'Log at level debug' } },
  async run({ config: path, debug }) {
    const host = thisPlatform().serviceHost(process.env);
    return process.exit(await runDaemon({ path, debug: debug === true, orders: new Orders(), host }));
  },
});

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
    printText(`steep-repl is switched off: enabled is false in ${loaded.file}`, 'stderr');
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
  process.stderr.on('error', () => {}); // whoever read the log is gone: that is no reason to stop
  const colour = process.stderr.isTTY && !process.env['NO_COLOR'];
  const log = createLogger(
    host?.log
      ? { level, format: format === 'auto' ? 'message' : format, write: host.log }
      : { level, format: chooseFormat(format, process.env), colour },
  );
  if (postgresql.password !== undefined) log.redact(postgresql.password);
  return log;
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
