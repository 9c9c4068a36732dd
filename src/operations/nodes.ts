import { z } from 'zod';
import { listNodes, type NodeRow } from '../db/nodes.ts';
import { SteepError } from '../lib/errors.ts';
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

/** From PostgreSQL, or as last read while it is away. Throws NOT_CONNECTED if it never was there. */
async function currentNodes({ database, knownNodes }: Subject): Promise<NodeRow[]> {
  if (!database) return knownNodes() ?? [];
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
