/**
 * The one error class. `code` decides how each door shows it (IPC error, gRPC status, exit code),
 * `message` names the thing, `hint` the remedy: a sentence or a command to type.
 */
export type ErrorCode =
  | 'INVALID_REQUEST' // wrong usage or parameters
  | 'CONFIG_INVALID' // the configuration cannot be used
  | 'METHOD_NOT_FOUND'
  | 'NODE_NOT_FOUND'
  | 'NOT_RUNNING' // no daemon, or no service installed
  | 'NOT_CONNECTED' // PostgreSQL is away
  | 'CANNOT_CONNECT' // nobody answers at an address
  | 'PERMISSION_DENIED'
  | 'CONFLICT' // somebody else holds it, or the state forbids it
  | 'TIMEOUT'
  | 'FAILED' // the outside world refused, and none of the above says it better
  | 'INTERNAL_ERROR'; // our own defect

export class SteepError extends Error {
  override readonly name = 'SteepError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  /** Anything thrown, as ours. What nobody foresaw is a defect: INTERNAL_ERROR, with the cause kept. */
  static from(thrown: unknown): SteepError {
    if (thrown instanceof SteepError) return thrown;
    return new SteepError('INTERNAL_ERROR', messageOf(thrown), { cause: thrown });
  }
}

/** The text of anything thrown; never empty. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.message === '' && thrown.errors.length > 0)
    return messageOf(thrown.errors[0]);
  if (thrown instanceof Error) return thrown.message || thrown.name;
  return String(thrown) || 'unknown error';
}

/** The `code` of a system error (ENOENT, ECONNREFUSED …) or of PostgreSQL (SQLSTATE), else undefined. */
export function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
