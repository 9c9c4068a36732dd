/** Between our terms and the messages of the wire. Empty text and 0 are how proto3 says that nothing is known. */
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Member } from '../cluster/member.ts';
import {
  type NodeInfo,
  NodeInfoSchema,
  type NodeMetadata,
  type RegisterNodeRequest,
} from '../gen/steep/repl/v1/coordinator_pb.ts';
import { SteepError } from '../lib/errors.ts';
import { isHost } from '../lib/host-port.ts';
import type { RegistryEntry } from '../operations/registry.ts';

export const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const MAX_NAME = 255;
/** Of a cluster or a copy of a node; ours are UUIDs. PostgreSQL keeps no NUL, and a message may quote it. */
const TOKEN = /^[\x21-\x7E]{0,64}$/;
/** Of counters: far enough below 2^53 that those who count on from it stay below that. */
const MAX_COUNT = 2 ** 48;
const TOKEN_ALLOWED = 'at most 64 characters of ASCII, no spaces';
const ROLES = ['node', 'witness', ''] as const;
/** The status of a removed node, told to nobody but itself. */
export const REMOVED = 'removed';

/** Whether it can be the id of a cluster or of a copy of a node; empty: none. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** A registration as a row of the registry. Throws INVALID_REQUEST naming the field. */
export function memberFromRequest(request: RegisterNodeRequest): Member {
  if (!NODE_ID.test(request.nodeId))
    refuse('node_id', 'an id of 1 to 63 letters, digits, dots, underscores and hyphens');
  checkName(request.nodeName);
  if (request.host !== '' && !isHost(request.host)) refuse('host', 'a host name or an IP address');
  if (request.grpcHost !== '' && !isHost(request.grpcHost))
    refuse('grpc_host', 'a host name or an IP address');
  if (request.priority !== 0 && (request.priority < 1 || request.priority > 100))
    refuse('priority', '1 to 100');
  if (!isCount(request.revision)) refuse('revision', 'not negative, and at most 2^48');
  if (!isToken(request.instanceId)) refuse('instance_id', TOKEN_ALLOWED);
  if (!isToken(request.clusterId)) refuse('cluster_id', TOKEN_ALLOWED);
  const role = ROLES.find((one) => one === request.role) ?? refuse('role', 'node, witness or empty');
  if (request.host === '') refuse('host', 'must not be empty');
  return {
    node_id: request.nodeId,
    node_name: request.nodeName === '' ? request.nodeId : request.nodeName,
    host: request.host,
    port: request.port === 0 ? 5432 : portOf('port', request.port),
    priority: request.priority === 0 ? 50 : request.priority,
    grpc_host: request.grpcHost === '' ? null : request.grpcHost,
    grpc_port: request.grpcHost === '' ? null : portOf('grpc_port', request.grpcPort),
    role,
    instance_id: request.instanceId,
    revision: Number(request.revision),
  };
}

/** What a node may change of itself later on; empty means unchanged. Throws INVALID_REQUEST naming the field. */
export function factsFromMetadata(
  metadata: NodeMetadata,
): Pick<Member, 'node_id'> & Partial<Pick<Member, 'node_name' | 'grpc_host' | 'grpc_port' | 'priority'>> {
  const { nodeId, nodeName, grpcHost, grpcPort, priority } = metadata;
  if (grpcHost !== '' && !isHost(grpcHost)) refuse('grpc_host', 'a host name or an IP address');
  checkName(nodeName);
  if (priority !== 0 && (priority < 1 || priority > 100)) refuse('priority', '1 to 100');
  return {
    node_id: nodeId,
    ...(nodeName === '' ? {} : { node_name: nodeName }),
    ...(grpcHost === '' ? {} : { grpc_host: grpcHost, grpc_port: portOf('grpc_port', grpcPort) }),
    ...(priority === 0 ? {} : { priority }),
  };
}

/** PostgreSQL keeps no NUL, and a terminal shows no other control character. */
function isName(name: string): boolean {
  return name.length <= MAX_NAME && !/\p{Cc}/u.test(name);
}

function checkName(name: string): void {
  if (!isName(name)) refuse('node_name', `at most ${MAX_NAME} characters, no control characters`);
}

function isCount(value: bigint): boolean {
  return value >= 0n && value <= BigInt(MAX_COUNT);
}

function refuse(field: string, allowed: string): never {
  throw new SteepError('INVALID_REQUEST', `${field}: ${allowed}`);
}

function portOf(field: string, value: number): number {
  return value >= 1 && value <= 65_535 ? value : refuse(field, 'a port, 1 to 65535');
}

/** A row for a peer, with what this node sees of it. */
export function toNodeInfo(
  { member, status, is_coordinator, last_seen }: RegistryEntry,
  clusterId: string | null,
): NodeInfo {
  return {
    ...toMemberInfo(member),
    isCoordinator: is_coordinator,
    ...(last_seen === null ? {} : { lastSeen: timestampFromDate(new Date(last_seen)) }),
    status,
    clusterId: clusterId ?? '',
  };
}

/** Only what the node says of itself. */
export function toMemberInfo(member: Member): NodeInfo {
  return create(NodeInfoSchema, {
    nodeId: member.node_id,
    nodeName: member.node_name,
    host: member.host,
    port: member.port,
    priority: member.priority,
    grpcHost: member.grpc_host ?? '',
    grpcPort: member.grpc_port ?? 0,
    role: member.role,
    instanceId: member.instance_id,
    revision: BigInt(member.revision),
  });
}

/** A row that a peer passed on; undefined for one that cannot be right, and so could not be stored either. */
export function memberFromInfo(info: NodeInfo): Member | undefined {
  const role = ROLES.find((one) => one === info.role) ?? '';
  if (!NODE_ID.test(info.nodeId) || !isHost(info.host) || !isName(info.nodeName)) return undefined;
  if (!isCount(info.revision) || !isToken(info.instanceId)) return undefined;
  const hasRpc = isHost(info.grpcHost) && info.grpcPort >= 1 && info.grpcPort <= 65_535;
  return {
    node_id: info.nodeId,
    node_name: info.nodeName === '' ? info.nodeId : info.nodeName,
    host: info.host,
    port: info.port >= 1 && info.port <= 65_535 ? info.port : 5432,
    priority: info.priority >= 1 && info.priority <= 100 ? info.priority : 50,
    grpc_host: hasRpc ? info.grpcHost : null,
    grpc_port: hasRpc ? info.grpcPort : null,
    role,
    instance_id: info.instanceId,
    revision: Number(info.revision),
  };
}
