/** Everything that the daemon can be asked. Names and types of the doors derive from this table. */
import type { z } from 'zod';
import { SteepError } from '../lib/errors.ts';
import { auditQuery } from './audit.ts';
import { coordinatorGet, coordinatorTransfer } from './coordinator.ts';
import { daemonReload } from './daemon.ts';
import { eventsSubscribe } from './events.ts';
import { healthCheck, healthRemote } from './health.ts';
import { nodesGet, nodesJoin, nodesList, nodesReadmit, nodesRemove, nodesSetStatus } from './nodes.ts';
import type { Context, Operation, Stream } from './operation.ts';
import { statusGet } from './status.ts';

export const operations = {
  'status.get': statusGet,
  'health.check': healthCheck,
  'nodes.list': nodesList,
  'nodes.get': nodesGet,
  'nodes.join': nodesJoin,
  'nodes.remove': nodesRemove,
  'nodes.readmit': nodesReadmit,
  'nodes.set_status': nodesSetStatus,
  'health.remote': healthRemote,
  'coordinator.get': coordinatorGet,
  'coordinator.transfer': coordinatorTransfer,
  'daemon.reload': daemonReload,
  'audit.query': auditQuery,
} satisfies Record<string, Operation>;

export const streams = {
  'events.subscribe': eventsSubscribe,
} satisfies Record<string, Stream>;

type Operations = typeof operations;
type Streams = typeof streams;
export type OperationName = keyof Operations;
export type StreamName = keyof Streams;
export type ParamsOf<Name extends OperationName | StreamName> = z.input<
  (Operations & Streams)[Name]['params']
>;
export type ResultOf<Name extends OperationName> = Awaited<ReturnType<Operations[Name]['run']>>;
export type EventOf<Name extends StreamName> = Parameters<Parameters<Streams[Name]['stream']>[2]>[0];

/**
 * Runs an operation by its name, as a door was asked to: `emit` gets the events of a stream. Throws
 * METHOD_NOT_FOUND, INVALID_REQUEST naming the parameter, PERMISSION_DENIED, and what the operation throws.
 */
export async function perform(
  name: string,
  params: unknown,
  context: Context,
  emit: (event: unknown) => void,
): Promise<unknown> {
  const found = find(name);
  if (!found) throw new SteepError('METHOD_NOT_FOUND', `unknown method '${name}'`);
  if (found.changes && !context.caller.mayChange)
    throw new SteepError(
      'PERMISSION_DENIED',
      `${context.caller.name ?? 'this client'} may not call ${name}`,
      {
        hint: "use root, the daemon's own user, or a member of the group that ipc.group names",
      },
    );
  const checked = found.params.safeParse(params ?? {});
  if (!checked.success) throw new SteepError('INVALID_REQUEST', describe(checked.error));
  return 'stream' in found
    ? await found.stream(checked.data, context, emit)
    : await found.run(checked.data, context);
}

/** Whether there is an operation or stream of this name. */
export function isOperation(name: string): boolean {
  return find(name) !== undefined;
}

/** Whether what it answers is followed by events. */
export function isStream(name: string): boolean {
  return Object.hasOwn(streams, name);
}

function find(name: string): Operation | Stream | undefined {
  const all: Record<string, Operation | Stream> = { ...operations, ...streams };
  return Object.hasOwn(all, name) ? all[name] : undefined;
}

/** `params.limit: Too big: expected number to be <=1000`, one problem after the other. */
function describe(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${['params', ...path].join('.')}: ${message}`).join('; ');
}
