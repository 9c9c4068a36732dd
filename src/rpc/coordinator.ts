/** Service Coordinator: checks who speaks, calls operations, shapes answers. */
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter } from '@connectrpc/connect';
import {
  Coordinator,
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthCheckResponseSchema,
} from '../gen/steep/repl/v1/coordinator_pb.ts';
import { SteepError } from '../lib/errors.ts';
import { type ComponentName, healthOf } from '../operations/health.ts';
import { heartbeat, register, registryOf, syncMetadata } from '../operations/registry.ts';
import type { Subject } from '../operations/subject.ts';
import { callerOf, nodeThatSpeaks } from './caller.ts';
import { factsFromMetadata, memberFromRequest, toNodeInfo } from './convert.ts';
import { toList } from './convert-election.ts';

/** Heartbeats of a peer. */
const TELL_ALL_EVERY = 30;

/** Adds the service to a router. */
export function coordinatorRoutes(router: ConnectRouter, subject: Subject): void {
  /** How much of the registry each peer has been told, in this run. */
  const told = new Map<string, number>();
  const calls = new Map<string, number>();
  router.service(Coordinator, {
    healthCheck: ({ service }) => healthCheck(subject, service),

    async registerNode(request, context) {
      nodeThatSpeaks(context, request.nodeId);
      const member = memberFromRequest(request);
      const actor = callerOf(context).name;
      const { clusterId, votes } = request;
      const { entries, joined, coordinatorId } = await register(subject, { member, clusterId, votes }, actor);
      return {
        success: true,
        nodes: entries.map((entry) => toNodeInfo(entry, joined.clusterId)),
        coordinatorId: coordinatorId ?? '',
        clusterId: joined.clusterId,
        ...(member.role === '' ? {} : { term: BigInt(joined.term), list: toList(joined.list) }),
      };
    },

    getNodes({ statusFilter }) {
      const wanted = new Set(statusFilter);
      const nodes = registryOf(subject).filter(({ status }) => wanted.size === 0 || wanted.has(status));
      return {
        nodes: nodes.map((entry) => toNodeInfo(entry, subject.cluster.id)),
        coordinatorId: subject.coordinator().node_id ?? '',
      };
    },

    heartbeat({ nodeId, nodeStatus }, context) {
      nodeThatSpeaks(context, nodeId);
      // An answer may be lost on its way: now and then everything is told again.
      const count = (calls.get(nodeId) ?? 0) + 1;
      const before = count % TELL_ALL_EVERY === 0 ? 0 : (told.get(nodeId) ?? 0);
      const { entries, version, coordinatorId } = heartbeat(
        subject,
        nodeId,
        nodeStatus?.postgresqlConnected,
        before,
      );
      calls.set(nodeId, count);
      told.set(nodeId, version);
      return {
        acknowledged: true,
        coordinatorId: coordinatorId ?? '',
        updatedNodes: entries.map((entry) => toNodeInfo(entry, subject.cluster.id)),
      };
    },

    async syncNodeMetadata({ metadata }, context) {
      if (!metadata) throw new SteepError('INVALID_REQUEST', 'metadata: must not be empty');
      nodeThatSpeaks(context, metadata.nodeId);
      await syncMetadata(subject, factsFromMetadata(metadata), callerOf(context).name);
      return { success: true };
    },
  });
}

function healthCheck(subject: Subject, service: string) {
  const { components } = healthOf(subject);
  if (service !== '' && !Object.hasOwn(components, service))
    throw new SteepError('NODE_NOT_FOUND', `service: there is no component '${service}'`);
  const asked =
    service === '' ? Object.entries(components) : [[service, components[service as ComponentName]] as const];
  const healthy = asked.every(([, component]) => component?.healthy);
  const { node_id: nodeId, node_name: nodeName } = subject.config();
  return create(HealthCheckResponseSchema, {
    status: healthy ? ServingStatus.SERVING : ServingStatus.NOT_SERVING,
    components: Object.fromEntries(
      asked.map(([name, component]) => [
        name,
        {
          healthy: component?.healthy ?? false,
          status: component?.status ?? '',
          message: component?.error ?? '',
        },
      ]),
    ),
    nodeId,
    nodeName,
    version: subject.version,
    uptimeSince: timestampFromDate(subject.startedAt),
  });
}
