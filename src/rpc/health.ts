/** The standard health service of gRPC: `""` is the daemon as a whole, as is the name of our own service. */
import type { ConnectRouter } from '@connectrpc/connect';
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../gen/grpc/health/v1/health_pb.ts';
import { Coordinator } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { SteepError } from '../lib/errors.ts';
import { sleep } from '../lib/sleep.ts';
import { healthOf } from '../operations/health.ts';
import type { Subject } from '../operations/subject.ts';

/** How often a watched status is looked at. */
const WATCH_MS = 500;

export function healthRoutes(router: ConnectRouter, subject: Subject): void {
  const statusOf = (service: string): ServingStatus => {
    if (service !== '' && service !== Coordinator.typeName) return ServingStatus.SERVICE_UNKNOWN;
    return healthOf(subject).status === 'unhealthy' ? ServingStatus.NOT_SERVING : ServingStatus.SERVING;
  };
  router.service(Health, {
    check({ service }) {
      const status = statusOf(service);
      if (status === ServingStatus.SERVICE_UNKNOWN)
        throw new SteepError('NODE_NOT_FOUND', `there is no service '${service}'`);
      return { status };
    },
    async *watch({ service }, { signal }) {
      let shown: ServingStatus | undefined;
      while (!signal.aborted) {
        const status = statusOf(service);
        if (status !== shown) yield { status };
        shown = status;
        await sleep(WATCH_MS, signal);
      }
    },
  });
}
