/** Fills in the defaults that depend on the machine, on the file's place or on other keys. */
import { hostname } from 'node:os';
import path from 'node:path';
import type { z } from 'zod';
import { formatHostPort } from '../lib/host-port.ts';
import type { Env, Platform } from '../platform/index.ts';
import { programPath } from './paths.ts';
import type { Problem } from './problems.ts';
import type { Config, schema } from './schema.ts';

export type Scope = 'system' | 'user';

interface Surroundings {
  /** Folder of the configuration file. */
  folder: string;
  scope: Scope;
  env: Env;
  platform: Platform;
}

/** The parsed file as a Config: every `derived` key of the schema gets its default here. */
export function complete(
  parsed: z.output<typeof schema>,
  { folder, scope, env, platform }: Surroundings,
): { config: Config; problems: (Problem & { key: string })[] } {
  const problems: (Problem & { key: string })[] = [];
  const { node_id, postgresql, grpc, ipc } = parsed;
  const here = (port: number): string => formatHostPort({ host: hostname(), port });
  const password = parsed.role === 'witness' ? undefined : env['PGPASSWORD'] || undefined;
  const [program, ...args] = postgresql.password_command ?? [];

  const stateBase = platform.stateBases(env)[scope];
  if (stateBase === undefined && !parsed.state_dir)
    problems.push({
      key: 'state_dir',
      message: 'has no default, since this user has no home folder',
      hint: 'give it a path',
    });

  const config: Config = {
    ...parsed,
    node_name: parsed.node_name ?? node_id,
    state_dir: parsed.state_dir ?? path.join(stateBase ?? '', node_id),
    postgresql: {
      ...postgresql,
      user: postgresql.user ?? platform.currentUser().name,
      advertise: postgresql.advertise ?? here(postgresql.port),
      ...(program === undefined ? {} : { password_command: [programPath(program, folder, env), ...args] }),
      ...(password === undefined ? {} : { password }),
    },
    grpc: {
      ...grpc,
      advertise: grpc.advertise ?? here(grpc.port),
      tls: {
        ...grpc.tls,
        cert_file: grpc.tls.cert_file ?? path.join(folder, 'certs', 'node.crt'),
        key_file: grpc.tls.key_file ?? path.join(folder, 'certs', 'node.key'),
        ca_file: grpc.tls.ca_file ?? path.join(folder, 'certs', 'ca.crt'),
      },
    },
    ipc: { ...ipc, mode: ipc.mode ?? (ipc.group === undefined ? 0o600 : 0o660) },
  };
  return { config, problems };
}
