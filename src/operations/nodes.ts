import { z } from 'zod';
import type { Member } from '../cluster/member.ts';
import { listNodes, type NodeRow, removeNode } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { operation } from './operation.ts';
import type { Subject } from './subject.ts';

const STATUSES = ['unknown', 'healthy', 'degraded', 'unreachable', 'offline'] as const;
/** A server that hangs is not waited for: the rows as last read do. */
const FRESH_WITHIN_MS = 1000;

export const nodesList = operation({
  params: z.object({ status_filter: z.array(z.enum(STATUSES)).optional() }),
  changes: false,
  async run({ status_filter: wanted }, { subject }) {
    const nodes = await currentNodes(subject);
    return {
      nodes: wanted?.length ? nodes.filter(({ status }) => wanted.includes(status)) : nodes,
      coordinator_id: subject.coordinator().node_id,
    };
  },
});

export const nodesGet = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: false,
  async run({ node_id }, { subject }) {
    const node = (await currentNodes(subject)).find((one) => one.node_id === node_id);
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
    return { node: rowOf(subject, await subject.join(parsed)) };
  },
});

export const nodesRemove = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: true,
  async run({ node_id }, { subject, caller }) {
    const { cluster, database } = subject;
    if (node_id === cluster.self.node_id)
      throw new SteepError('INVALID_REQUEST', 'a node cannot remove itself', {
        hint: `on another node:  steep-repl nodes remove ${node_id}`,
      });
    const node = rowOf(subject, cluster.remove(node_id));
    if (database?.state.kind === 'connected') await removeNode(database, node_id, caller.name);
    subject.registryChanged();
    return { node };
  },
});

export const nodesReadmit = operation({
  params: z.object({ node_id: z.string().min(1) }),
  changes: true,
  run({ node_id }, { subject }) {
    const member = subject.cluster.readmit(node_id);
    subject.registryChanged();
    return { node: rowOf(subject, member) };
  },
});

/** A row as the table shows it, of a node that may not be in the table yet. */
function rowOf(subject: Subject, member: Member): NodeRow {
  const { node_id, node_name, host, port, priority, grpc_host, grpc_port } = member;
  const known = subject.knownNodes()?.find((row) => row.node_id === node_id);
  return {
    node_id,
    node_name,
    host,
    port,
    priority,
    grpc_host,
    grpc_port,
    is_coordinator: subject.coordinator().node_id === node_id,
    last_seen: known?.last_seen ?? null,
    status: subject.statusOf(node_id),
  };
}

/** From PostgreSQL, or as last read while it is away. Throws NOT_CONNECTED if it never was there. */
async function currentNodes(subject: Subject): Promise<NodeRow[]> {
  const { database, knownNodes } = subject;
  if (!database) return subject.cluster.registry.members().map((member) => rowOf(subject, member));
  try {
    return await within(FRESH_WITHIN_MS, listNodes(database));
  } catch (thrown) {
    const error = SteepError.from(thrown);
    const known = knownNodes();
    if (known && (error.code === 'NOT_CONNECTED' || error.code === 'TIMEOUT')) return known;
    throw error;
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new SteepError('TIMEOUT', `PostgreSQL did not answer within ${ms} ms`)),
    ms,
  );
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}
