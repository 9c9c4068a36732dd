/** The shape of what can be asked, whatever door it is asked through. */
import type { z } from 'zod';
import type { Subject } from './subject.ts';

/** Who asks, as the door knows it. */
export interface Caller {
  /** Appears in the audit trail; null where the platform cannot tell. */
  name: string | null;
  mayChange: boolean;
}

export interface Context {
  subject: Subject;
  caller: Caller;
  /** Fires when the caller goes away, or the daemon stops. */
  signal: AbortSignal;
}

export interface Operation<Params extends z.ZodType = z.ZodType, Result = unknown> {
  params: Params;
  /** Whether it changes something, and so needs the right to. */
  changes: boolean;
  run(params: z.output<Params>, context: Context): Result | Promise<Result>;
}

/** An operation whose first result is followed by events until the caller goes away. */
export interface Stream<Params extends z.ZodType = z.ZodType, Result = unknown, Event = unknown> {
  params: Params;
  changes: boolean;
  stream(params: z.output<Params>, context: Context, emit: (event: Event) => void): Result | Promise<Result>;
}

export function operation<Params extends z.ZodType, Result>(
  definition: Operation<Params, Result>,
): Operation<Params, Result> {
  return definition;
}

export function stream<Params extends z.ZodType, Result, Event>(
  definition: Stream<Params, Result, Event>,
): Stream<Params, Result, Event> {
  return definition;
}
