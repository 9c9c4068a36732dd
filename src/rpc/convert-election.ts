/** Between our terms and the messages of service Election. */
import { create } from '@bufbuild/protobuf';
import type { Listed, MemberList, Version } from '../cluster/list.ts';
import type { Answer, Request } from '../cluster/messages.ts';
import type {
  ElectionAnswer,
  ProposeRequest,
  ReleaseRequest,
  RenewRequest,
  VoteRequest,
} from '../gen/steep/repl/v1/election_pb.ts';
import {
  type MemberList as WireList,
  type ListVersion,
  MemberListSchema,
} from '../gen/steep/repl/v1/members_pb.ts';
import { SteepError } from '../lib/errors.ts';
import type { Proposal } from '../operations/coordination.ts';
import { isToken, NODE_ID } from './convert.ts';

/** Of terms and numbers: far enough below 2^53 that counting on from it stays below that. */
const MAX_COUNT = 2n ** 48n;
const MAX_LEASE_MS = 600_000n;
const ROLES = ['node', 'witness', ''] as const;
const STATES = ['member', 'offline', 'removed'] as const;
const VOTES = ['never', 'soon', 'yes', 'suspended'] as const;
const CHANGES = ['remove', 'readmit', 'offline', 'online'] as const;

/** Who asks, and what. Throw INVALID_REQUEST naming the field. */
export function voteFrom(request: VoteRequest): Request & { kind: 'vote' } {
  return { ...common(request), kind: 'vote', trial: request.trial, list: versionFrom('list', request.list) };
}

export function renewalFrom(request: RenewRequest): Request & { kind: 'renew' } {
  return {
    ...common(request),
    kind: 'renew',
    lease: count('lease_ms', request.leaseMs, MAX_LEASE_MS),
    version: versionFrom('version', request.version),
    list: request.list && listFrom(request.list),
    since: count('since_ms', request.sinceMs),
  };
}

export function releaseFrom(request: ReleaseRequest): Request & { kind: 'release' } {
  return {
    ...common(request),
    kind: 'release',
    successor: request.successor === '' ? null : request.successor,
  };
}

export function toAnswer(answer: Answer) {
  const { granted, reason, instance_id: instanceId, healthy, newer } = answer;
  return {
    granted,
    reason,
    term: BigInt(answer.term),
    instanceId,
    version: toVersion(answer.version),
    ...(newer ? { newer: toList(newer) } : {}),
    healthy,
  };
}

/** What a peer answered. Throws INVALID_REQUEST for what no daemon answers. */
export function answerFrom(answer: ElectionAnswer): Answer {
  return {
    granted: answer.granted,
    reason: answer.reason,
    term: count('term', answer.term),
    instance_id: answer.instanceId,
    version: versionFrom('version', answer.version),
    newer: answer.newer && listFrom(answer.newer),
    healthy: answer.healthy,
  };
}

export function proposalFrom(request: ProposeRequest): Proposal {
  const { nodeId: node_id, instanceId: instance_id, votes, kind } = request;
  if (!NODE_ID.test(node_id)) refuse('node_id');
  if (!isToken(instance_id)) refuse('instance_id');
  if (kind === 'transfer') return { kind, node_id };
  if (kind === 'admit') return { kind, node_id, instance_id, role: one('role', ROLES, request.role), votes };
  return { kind: one('kind', CHANGES, kind), node_id };
}

export function toList({ term, number, nodes }: MemberList): WireList {
  return create(MemberListSchema, {
    version: toVersion({ term, number }),
    nodes: nodes.map(({ node_id: nodeId, instance_id: instanceId, role, state, vote }) => ({
      nodeId,
      instanceId,
      role,
      state,
      vote,
    })),
  });
}

/** Throws INVALID_REQUEST. */
export function listFrom({ version, nodes }: WireList): MemberList {
  return {
    ...versionFrom('list.version', version),
    nodes: nodes.map((node): Listed => {
      if (!NODE_ID.test(node.nodeId)) refuse('list.nodes.node_id');
      if (!isToken(node.instanceId)) refuse('list.nodes.instance_id');
      return {
        node_id: node.nodeId,
        instance_id: node.instanceId,
        role: one('list.nodes.role', ROLES, node.role),
        state: one('list.nodes.state', STATES, node.state),
        vote: one('list.nodes.vote', VOTES, node.vote),
      };
    }),
  };
}

export function toVersion({ term, number }: Version) {
  return { term: BigInt(term), number: BigInt(number) };
}

function versionFrom(field: string, version: ListVersion | undefined): Version {
  if (!version) return refuse(field);
  return { term: count(`${field}.term`, version.term), number: count(`${field}.number`, version.number) };
}

function common({ clusterId, term, instanceId }: VoteRequest | RenewRequest | ReleaseRequest) {
  if (!isToken(clusterId)) refuse('cluster_id');
  if (!isToken(instanceId)) refuse('instance_id');
  return { cluster_id: clusterId, term: count('term', term), instance_id: instanceId };
}

function count(field: string, value: bigint, most = MAX_COUNT): number {
  return value >= 0n && value <= most ? Number(value) : refuse(field);
}

function one<T extends string>(field: string, those: readonly T[], value: string): T {
  return those.find((known) => known === value) ?? refuse(field);
}

function refuse(field: string): never {
  throw new SteepError('INVALID_REQUEST', `${field}: not as service Election has it`);
}
