import { z } from 'zod';
import type { Member } from '../cluster/member.ts';
import { type NodeRow, registerNode, removeNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { operation } from './operation.ts';
import { entryOf } from './registry.ts';
import type { Subject } from './subject.ts';

const STATUSES = ['unknown', 'healthy', 'degraded', 'unreachable', 'offline'] as const;

export const nodesList = operation({
  params: z.object({ status_filter: z.array(z.enum(STATUSES)).optional() }),
  changes: false,
  run({ status_filter: wanted }, { subject }) {
    const nodes = currentNodes(subject);
    return {
      nodes: wanted?.length ? nodes.filter(({ status }) => wanted.includes(status)) : nodes,
      coordinator_id: subject.coordinator().node_id,
    };
  },
});

export const nodesGet = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: false,
  run({ node_id }, { subject }) {
    const node = currentNodes(subject).find((one) => one.node_id === node_id);
    if (!node)
      throw new SteepError('NODE_NOT_FOUND', `there is no node '${node_id}'`, {
        hint: 'steep-repl nodes list',
      });
    return { node };
  },
});

export const nodesJoin = operation({
  params: z.object({ address: z.string() }),
  changes: true,
  async run({ address }, { subject }) {
    const parsed = parseHostPort(address);
    if (!parsed) throw new SteepError('INVALID_REQUEST', `address: not host:port: ${address}`);
    const peer = await subject.join(parsed);
    return { node: rowOf(subject, peer) };
  },
});

export const nodesRemove = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: true,
  async run({ node_id }, { subject, caller }) {
    const { cluster, database, coordination } = subject;
    if (node_id === cluster.self.node_id)
      throw new SteepError('INVALID_REQUEST', 'a node cannot remove itself', {
        hint: `on another node:  steep-repl nodes remove ${node_id}`,
      });
    const member = requireMember(subject, node_id);
    const node = rowOf(subject, member);
    await coordination.change({ kind: 'remove', node_id });
    try {
      if (database?.state.kind === 'connected') await removeNode(database, node_id, caller.name);
    } finally {
      subject.registryChanged();
    }
    return { node };
  },
});

export const nodesReadmit = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: true,
  async run({ node_id }, { subject }) {
    await subject.coordination.change({ kind: 'readmit', node_id });
    subject.registryChanged();
    return { node: rowOf(subject, requireMember(subject, node_id)) };
  },
});

export const nodesSetStatus = operation({
  params: z.object({ node_id: z.string().min(1), status: z.enum(['offline', 'online']) }),
  changes: true,
  async run({ node_id, status }, { subject, caller }) {
    if (status === 'offline') requireAnother(subject, node_id);
    await subject.coordination.change({ kind: status, node_id });
    const member = requireMember(subject, node_id);
    const { database } = subject;
    try {
      if (database?.state.kind === 'connected')
        await registerNode(database, member, subject.statusOf(node_id), caller.name);
    } finally {
      subject.registryChanged();
    }
    return { node: rowOf(subject, member) };
  },
});

/** Throws NODE_NOT_FOUND. */
function requireMember({ cluster }: Subject, id: string): Member {
  const member = cluster.registry.find(id);
  if (!member || !cluster.listed(id))
    throw new SteepError('NODE_NOT_FOUND', `there is no node '${id}'`, { hint: 'steep-repl nodes list' });
  return member;
}

/** Throws CONFLICT when nobody could coordinate after a node went offline: then nobody could set it online again. */
function requireAnother({ cluster }: Subject, id: string): void {
  const able = cluster.list.nodes.filter(
    ({ role, state, vote }) => role === 'node' && state === 'member' && vote === 'yes',
  );
  if (able.length === 1 && able[0]?.node_id === id)
    throw new SteepError('CONFLICT', `${id} is the last node that can coordinate: it cannot go offline`, {
      hint: 'steep-repl nodes list',
    });
}

/** A row of the table, and what only the daemon knows. */
export interface ShownNode extends NodeRow {
  /** witness: it has no PostgreSQL. Null for a row that an operator wrote into the table himself. */
  role: Member['role'] | null;
  /** Of the last heartbeat; null for this node, and for those that have not answered. */
  round_trip_ms: number | null;
  /** Whether it counts in elections. */
  votes: boolean;
}

/** A row as the table shows it, of what this daemon knows now. */
function rowOf(subject: Subject, member: Member): ShownNode {
  const { node_id, node_name, host, port, priority, grpc_host, grpc_port } = member;
  const { status, is_coordinator, last_seen } = entryOf(subject, member);
  return {
    node_id,
    node_name,
    host,
    port,
    priority,
    grpc_host,
    grpc_port,
    is_coordinator,
    status,
    last_seen,
    role: member.role,
    round_trip_ms: roundTripOf(subject, node_id),
    votes: subject.cluster.listed(node_id)?.vote === 'yes',
  };
}

function roundTripOf({ cluster }: Subject, id: string): number | null {
  const peer = cluster.peer(id);
  const roundTrip = peer?.seen === 'unreachable' ? undefined : peer?.roundTrip;
  return roundTrip === undefined ? null : Math.round(roundTrip * 10) / 10;
}

/**
 * The members of the cluster, and rows that somebody else wrote into the table. From memory: a table that cannot be
 * reached, or lags behind, must not hide that a node is gone.
 */
function currentNodes(subject: Subject): ShownNode[] {
  const { cluster } = subject;
  const members = cluster.members().map((member) => rowOf(subject, member));
  const strangers =
    subject
      .knownNodes()
      ?.filter(
        ({ node_id }) =>
          node_id !== cluster.self.node_id && !cluster.listed(node_id) && !cluster.belongedOnce(node_id),
      ) ?? [];
  const shown = strangers.map((row) => ({ ...row, role: null, round_trip_ms: null, votes: false }));
  return [...members, ...shown].sort((a, b) => (a.node_id < b.node_id ? -1 : 1));
}
