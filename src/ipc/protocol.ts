/** One JSON object a line, both ways. */
import { z } from 'zod';
import type { IpcErrorCode } from './errors.ts';

/** Bytes of a request: what anybody may send is bounded, our own answers are not. */
export const MAX_LINE = 1024 * 1024;

/** Enough of a request to answer that the rest of it is wrong. */
export const envelope = z.object({ id: z.string().max(200) });

export const request = envelope.extend({
  method: z.string().max(100),
  params: z.record(z.string(), z.unknown()).nullish(),
});

export interface IpcError {
  code: IpcErrorCode;
  message: string;
  /** What to do about it. */
  hint?: string;
}

export type Response =
  | { id: string; result: unknown; error: null }
  | { id: string | null; result: null; error: IpcError }
  | { id: string; event: unknown };
