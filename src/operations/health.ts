import { z } from 'zod';
import { operation } from './operation.ts';
import { postgresqlOf } from './status.ts';
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

/** From memory alone. Unhealthy: a component is; degraded: all are well, but an issue is a warning or an error. */
export function healthOf(subject: Subject): Health {
  const config = subject.config();
  const { ipc, http } = subject.doors();
  const components: Health['components'] = {};
  const postgresql = postgresqlHealth(subject);
  if (postgresql) components.postgresql = postgresql;
  if (config.ipc.enabled) components.ipc = doorHealth(ipc);
  if (config.http.enabled) components.http = doorHealth(http);
  const well = Object.values(components).every(({ healthy }) => healthy);
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
