import { z } from 'zod';
import { SteepError } from '../lib/errors.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { operation } from './operation.ts';
import { postgresqlOf } from './status.ts';
import type { RemoteHealth } from './remote-health.ts';
import type { DoorStatus, Subject } from './subject.ts';

export interface ComponentHealth {
  healthy: boolean;
  status: string;
  version?: string;
  port?: number;
  latency_ms?: number;
  error?: string;
}

export type ComponentName = 'postgresql' | 'grpc' | 'ipc' | 'http';

export interface Health {
  status: 'healthy' | 'degraded' | 'unhealthy';
  /** A component that is switched off by configuration is left out. */
  components: Partial<Record<ComponentName, ComponentHealth>>;
}

export const healthCheck = operation({
  params: z.object({}),
  changes: false,
  run: (_params, { subject }): Health => healthOf(subject),
});

export const healthRemote = operation({
  params: z.object({ address: z.string() }),
  changes: false,
  run({ address }, { subject }): Promise<RemoteHealth> {
    const parsed = parseHostPort(address);
    if (!parsed) throw new SteepError('INVALID_REQUEST', `address: not host:port: ${address}`);
    return subject.remoteHealth(parsed);
  },
});

/**
 * From memory alone. Unhealthy: a component is; degraded: all are well, but an issue is a warning or an error.
 * A node without certificates cannot talk to others, yet its PostgreSQL serves: that is degraded.
 */
export function healthOf(subject: Subject): Health {
  const config = subject.config();
  const { ipc, http, grpc } = subject.doors();
  const components: Health['components'] = {};
  const postgresql = postgresqlHealth(subject);
  if (postgresql) components.postgresql = postgresql;
  if (config.grpc.enabled) components.grpc = doorHealth(grpc);
  if (config.ipc.enabled) components.ipc = doorHealth(ipc);
  if (config.http.enabled) components.http = doorHealth(http);
  const optional = config.role === 'witness' ? [] : ['grpc'];
  const well = Object.entries(components).every(([name, { healthy }]) => healthy || optional.includes(name));
  const troubled = subject.issues().some(({ severity }) => severity !== 'note');
  return { status: !well ? 'unhealthy' : troubled ? 'degraded' : 'healthy', components };
}

function postgresqlHealth(subject: Subject): ComponentHealth | undefined {
  const status = postgresqlOf(subject);
  if (!status) return undefined;
  if (status.connected)
    return {
      healthy: true,
      status: 'connected',
      version: status.version ?? '',
      latency_ms: status.latency_ms ?? 0,
    };
  return { healthy: false, status: 'disconnected', error: status.error ?? 'not connected yet' };
}

function doorHealth({ listening, port }: DoorStatus): ComponentHealth {
  return {
    healthy: listening,
    status: listening ? 'listening' : 'not listening',
    ...(port === undefined ? {} : { port }),
  };
}
