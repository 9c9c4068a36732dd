/** What peers ask of the registry. Doors give the identity that the certificate proves. */
import type { Joined, Registration } from '../cluster/cluster.ts';
import { type Member, sameFacts } from '../cluster/member.ts';
import { type NodeStatus, registerNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import type { Subject } from './subject.ts';

export interface RegistryEntry {
  member: Member;
  status: NodeStatus;
  is_coordinator: boolean;
  /** RFC 3339. */
  last_seen: string | null;
}

export interface Registered {
  entries: RegistryEntry[];
  joined: Omit<Joined, 'members'>;
  coordinatorId: string | null;
}

/** Every node as this one knows it. From memory. */
export function registryOf(subject: Subject): RegistryEntry[] {
  return subject.cluster.members().map((member) => entryOf(subject, member));
}

export function entryOf(subject: Subject, member: Member): RegistryEntry {
  const ago = subject.cluster.answeredAgo(member.node_id);
  const row = subject.knownNodes()?.find(({ node_id }) => node_id === member.node_id);
  return {
    member,
    status: subject.statusOf(member.node_id),
    is_coordinator: subject.coordinator().node_id === member.node_id,
    last_seen: ago === undefined ? (row?.last_seen ?? null) : new Date(Date.now() - ago).toISOString(),
  };
}

/**
 * Makes a node known: listed by the coordinator, stored in state_dir, then in PostgreSQL with its audit row. Throws
 * what Cluster.admission, Coordination.change and Database.query throw; NOT_CONNECTED before anything happened while
 * PostgreSQL is away.
 */
export async function register(
  subject: Subject,
  registration: Registration,
  actingFor: string,
): Promise<Registered> {
  const { cluster, database, coordination } = subject;
  if (database && database.state.kind !== 'connected')
    throw new SteepError('NOT_CONNECTED', `PostgreSQL of ${cluster.self.node_id} is away`);
  const change = cluster.admission(registration);
  // Facts are for a coordinator elsewhere. Here they are kept below, and at once written together with in whose
  // name they came: the mirror, which does not know, would often be faster.
  const elsewhere = subject.coordinator().node_id !== cluster.self.node_id;
  if (change) await coordination.change(change, elsewhere ? registration.member : undefined);
  const member = cluster.register(registration.member);
  try {
    if (database) await registerNode(database, member, subject.statusOf(member.node_id), actingFor);
  } finally {
    subject.registryChanged(); // it is known from now on, whether or not PostgreSQL took the row
  }
  return {
    entries: registryOf(subject),
    joined: { clusterId: cluster.id ?? '', term: coordination.term, list: cluster.list },
    coordinatorId: subject.coordinator().node_id,
  };
}

/**
 * A sign of life of a node. Throws NODE_NOT_FOUND for one that never registered, PERMISSION_DENIED for a removed one,
 * NOT_CONNECTED while this node is another copy than the cluster knows: an answer would pass for one of the copy
 * before, and nobody lets a second copy in while the first one lives.
 */
export function heartbeat(
  subject: Subject,
  nodeId: string,
  postgresqlConnected: boolean | undefined,
  sinceVersion: number,
): { entries: RegistryEntry[]; version: number; coordinatorId: string | null } {
  const { cluster } = subject;
  cluster.refuseRemoved(nodeId);
  const own = cluster.listed(cluster.self.node_id)?.instance_id ?? '';
  if (own !== '' && own !== cluster.instanceId)
    throw new SteepError(
      'NOT_CONNECTED',
      `${cluster.self.node_id} is another copy, which waits to be let in`,
    );
  if (!cluster.registry.find(nodeId) || !cluster.listed(nodeId))
    throw new SteepError('NODE_NOT_FOUND', `${nodeId} is not registered with ${cluster.self.node_id}`);
  cluster.noteHeartbeat(nodeId, postgresqlConnected);
  return {
    entries: cluster.registry.changedSince(sinceVersion).map((member) => entryOf(subject, member)),
    version: cluster.registry.version,
    coordinatorId: subject.coordinator().node_id,
  };
}

/** A node tells new facts of itself. Throws as `heartbeat`; NOT_CONNECTED while PostgreSQL is away. */
export async function syncMetadata(
  subject: Subject,
  facts: Pick<Member, 'node_id'> &
    Partial<Pick<Member, 'node_name' | 'grpc_host' | 'grpc_port' | 'priority'>>,
  actingFor: string,
): Promise<void> {
  const { cluster, database } = subject;
  cluster.refuseRemoved(facts.node_id);
  const known = cluster.registry.find(facts.node_id);
  if (!known)
    throw new SteepError('NODE_NOT_FOUND', `${facts.node_id} is not registered with ${cluster.self.node_id}`);
  if (database && database.state.kind !== 'connected')
    throw new SteepError('NOT_CONNECTED', `PostgreSQL of ${cluster.self.node_id} is away`);
  if (sameFacts(known, { ...known, ...facts })) return;
  const fresh: Member = { ...known, ...facts, revision: known.revision + 1 };
  cluster.learn([fresh]);
  try {
    if (database) await registerNode(database, fresh, subject.statusOf(fresh.node_id), actingFor);
  } finally {
    subject.registryChanged();
  }
}
