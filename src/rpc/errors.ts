import { Code, ConnectError } from '@connectrpc/connect';
import { type NodeInfo, NodeInfoSchema } from '../gen/steep/repl/v1/coordinator_pb.ts';
import { codeOf, type ErrorCode, SteepError } from '../lib/errors.ts';
import { explainTlsError } from '../tls/explain.ts';
import type { TlsMaterial } from '../tls/material.ts';

const codes: Record<ErrorCode, Code> = {
  INVALID_REQUEST: Code.InvalidArgument,
  CONFIG_INVALID: Code.Internal,
  METHOD_NOT_FOUND: Code.Unimplemented,
  NODE_NOT_FOUND: Code.NotFound,
  NOT_RUNNING: Code.Unavailable,
  NOT_CONNECTED: Code.Unavailable,
  CANNOT_CONNECT: Code.Unavailable,
  PERMISSION_DENIED: Code.PermissionDenied,
  CONFLICT: Code.FailedPrecondition,
  TIMEOUT: Code.DeadlineExceeded,
  FAILED: Code.Internal,
  INTERNAL_ERROR: Code.Internal,
};

/** Of a message: it travels in a header, and peers refuse long ones together with their connection. */
const MOST_TEXT = 1000;

/**
 * Ours on the wire. A defect keeps its details to itself: the log has them. A node that was removed gets its row, so
 * that it can tell its operator.
 */
export function toConnectError(error: SteepError, row?: NodeInfo): ConnectError {
  const message = error.code === 'INTERNAL_ERROR' ? 'internal error' : error.message.slice(0, MOST_TEXT);
  const details = row === undefined ? [] : [{ desc: NodeInfoSchema, value: row }];
  return new ConnectError(message, codes[error.code], undefined, details);
}

/** The rows that came with a refusal. */
export function rowsIn(error: SteepError): NodeInfo[] {
  return error.cause instanceof ConnectError ? error.cause.findDetails(NodeInfoSchema) : [];
}

const fromCodes: Partial<Record<Code, ErrorCode>> = {
  [Code.InvalidArgument]: 'INVALID_REQUEST',
  [Code.Unimplemented]: 'METHOD_NOT_FOUND',
  [Code.NotFound]: 'NODE_NOT_FOUND',
  [Code.Unavailable]: 'CANNOT_CONNECT',
  [Code.PermissionDenied]: 'PERMISSION_DENIED',
  [Code.Unauthenticated]: 'PERMISSION_DENIED',
  [Code.FailedPrecondition]: 'CONFLICT',
  [Code.DeadlineExceeded]: 'TIMEOUT',
  // Another call on the same connection timed out and gave it up: whoever can try again should.
  [Code.Canceled]: 'CANNOT_CONNECT',
  [Code.Aborted]: 'CANNOT_CONNECT',
};

/** What a peer answered, or why it did not, in our terms. */
export function fromConnectError(address: string, thrown: unknown, own: TlsMaterial | undefined): SteepError {
  const error = ConnectError.from(thrown);
  // An error of the connection, not an answer of the peer, carries that of the socket.
  if (codeOf(error.cause) !== undefined || error.cause instanceof SteepError)
    return explainTlsError(error.cause, { address, own: own?.certificate });
  const code = fromCodes[error.code] ?? 'FAILED';
  return new SteepError(code, `${address}: ${error.rawMessage}`, { cause: thrown });
}
