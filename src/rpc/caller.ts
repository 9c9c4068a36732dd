/** Who speaks: what the connection's certificate proves, as handlers see it. */
import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import { SteepError } from '../lib/errors.ts';
import { isNodeId } from '../tls/identity.ts';
import type { Identity } from '../tls/identity.ts';

export interface RpcCaller {
  identity: Identity | { kind: 'insecure' };
  /** `node-b`, or the subject of another certificate: appears in the audit trail. */
  name: string;
  /** Remote address, without its port. */
  address: string;
  /** Of the certificate; undefined without TLS. */
  subject: string | undefined;
}

export const NOBODY: RpcCaller = {
  identity: { kind: 'unknown', subject: '' },
  name: 'unknown',
  address: '',
  subject: undefined,
};

export const callerKey = createContextKey<RpcCaller>(NOBODY, { description: 'who speaks' });

export function callerOf(context: Pick<HandlerContext, 'values'>): RpcCaller {
  return context.values.get(callerKey);
}

/** Throws PERMISSION_DENIED unless the certificate is that of this node. Without TLS everybody is believed. */
export function nodeThatSpeaks(context: HandlerContext, nodeId: string): void {
  const { identity, name } = callerOf(context);
  if (identity.kind === 'insecure' || (identity.kind === 'node' && identity.nodeId === nodeId)) return;
  // What is no id may be of any length and content: it is not repeated.
  const whom = isNodeId(nodeId) ? `node '${nodeId}'` : 'what is no node id';
  throw new SteepError('PERMISSION_DENIED', `the certificate of ${name} cannot speak for ${whom}`);
}
