import { umask } from 'node:process';
import { loadConfig } from '../config/load.ts';
import { startDaemon } from '../daemon/daemon.ts';
import { SteepError } from '../lib/errors.ts';
import { chooseFormat, createLogger } from '../lib/log.ts';
import { thisPlatform } from '../platform/index.ts';
import { defineCommand } from './command.ts';
import { configArg, EXIT, printText } from './output.ts';
import { version } from './version-info.ts';

/** A stop that takes longer is ended: the service manager would do it anyway, and less politely. */
const STOP_LIMIT_MS = 10_000;

export const command = defineCommand({
  args: { config: configArg, debug: { type: 'boolean', description: 'Log at level debug' } },
  async run(args) {
    umask(0o077);
    const platform = thisPlatform();
    const { env } = process;
    const load = () => {
      const loaded = loadConfig({ path: args.config, env, platform });
      return args.debug ? { ...loaded, config: { ...loaded.config, log: { ...loaded.config.log, level: 'debug' as const } } } : loaded;
    };
    const loaded = load();
    const { config } = loaded;
    if (!config.enabled) {
      printText(`steep-repl is switched off: enabled is false in ${loaded.file}`, 'stderr');
      return EXIT.ok;
    }

    const { signals, next } = listenForSignals();
    const log = createLogger({
      level: config.log.level,
      format: chooseFormat(config.log.format, env),
      colour: process.stderr.isTTY && !env['NO_COLOR'],
    });
    if (config.postgresql.password !== undefined) log.redact(config.postgresql.password);
    const daemon = await startDaemon({ loaded, load, log, platform, env, version });

    const crashed = new Promise<never>((_resolve, reject) => {
      process.on('uncaughtException', reject);
      process.on('unhandledRejection', reject);
    });
    let failure: SteepError | undefined;
    let reason = 'failure';
    try {
      for (;;) {
        const signal = await Promise.race([next(), daemon.failed, crashed]);
        if (signal !== 'SIGHUP') {
          reason = signal;
          break;
        }
        daemon.reload();
      }
    } catch (thrown) {
      failure = SteepError.from(thrown);
      log.component('daemon').error(failure.message, { hint: failure.hint, stack: stackOf(failure) });
    }
    log.component('daemon').info('stopping', { reason });
    // The next signal ends it at once.
    for (const signal of signals) process.on(signal, () => process.exit(EXIT.failed));
    setTimeout(() => process.exit(EXIT.failed), STOP_LIMIT_MS).unref();
    await daemon.stop(reason, failure);
    log.component('daemon').info('stopped');
    process.exit(failure === undefined ? EXIT.ok : EXIT.failed);
  },
});

type Signal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

/** Collects signals from now on, so that none is lost, or ends the process, while the daemon still starts. */
function listenForSignals(): { signals: Signal[]; next: () => Promise<Signal> } {
  const received: Signal[] = [];
  let wake: (() => void) | undefined;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      received.push(signal);
      wake?.();
    });
  }
  const next = async (): Promise<Signal> => {
    for (;;) {
      const signal = received.shift();
      if (signal) return signal;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { signals: ['SIGTERM', 'SIGINT'], next };
}

/** A defect is logged with where it happened. */
function stackOf(error: SteepError): string | undefined {
  return error.code === 'INTERNAL_ERROR' && error.cause instanceof Error ? error.cause.stack : undefined;
}
