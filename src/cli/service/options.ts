/** What the service is to run: the executable, and all files that the configuration names. */
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { type LoadedConfig, loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { SteepError } from '../../lib/errors.ts';
import type { Env, Platform, ServiceOptions, ServiceScope } from '../../platform/index.ts';

/** The machine's service uses the machine's file, also for a root whose own home folder has another. */
export function loadFor(scope: ServiceScope, option: string | undefined, platform: Platform): LoadedConfig {
  const { env } = process;
  const file =
    option ?? (scope === 'system' ? path.join(platform.configDirs(env).system, 'config.yaml') : undefined);
  return loadConfig({ path: file, env: scope === 'system' ? serviceEnv(env) : env, platform });
}

/** What overrides the file for whoever installs does not do so for the service. */
function serviceEnv(env: Env): Env {
  const overrides = /^(PG|STEEP_REPL_)/;
  const rest = Object.entries(env).filter(([name]) => !overrides.test(name));
  return { ...Object.fromEntries(rest), STEEP_SERVICE_SCOPE: 'system' };
}

/** Throws FAILED when this is no executable of ours. */
export function serviceOptions({ config, file }: LoadedConfig, runAs: string | undefined): ServiceOptions {
  // Sources in a working copy are no place to start at boot from.
  if (!/\$bunfs|~BUN/.test(Bun.main))
    throw new SteepError('FAILED', 'only the compiled executable can be a service', {
      hint: 'bun run build, then  dist/steep-repl install',
    });
  return {
    executable: realpathSync(process.execPath),
    config: realpathSync(file),
    runAs,
    stateDir: config.state_dir,
    answers: config.ipc.enabled,
    keyFile: usedKey(config),
    reads: filesOf(config).flatMap(realFile),
    writes: config.ipc.path === undefined ? [] : [path.dirname(config.ipc.path)],
  };
}

function usedKey({ grpc: { enabled, insecure, tls } }: Config): string | undefined {
  return enabled && !insecure ? realFile(tls.key_file)[0] : undefined;
}

/** Where links lead to: rights are given to files. Nothing if it is not there (yet). */
function realFile(file: string): string[] {
  return existsSync(file) ? [realpathSync(file)] : [];
}

function filesOf({ grpc, postgresql, election }: Config): string[] {
  const { cert_file: cert, key_file: key, ca_file: ca, crl_file: crl } = grpc.tls;
  const { sslrootcert, sslcert, sslkey, password_command: command } = postgresql;
  const etcd = election.etcd;
  return [
    ...(grpc.enabled && !grpc.insecure ? [cert, key, ca, crl] : []),
    sslrootcert === 'system' ? undefined : sslrootcert,
    sslcert,
    sslkey,
    etcd?.ca_file,
    etcd?.cert_file,
    etcd?.key_file,
    command?.[0]?.startsWith('/') ? command[0] : undefined,
  ].filter((file) => file !== undefined);
}
