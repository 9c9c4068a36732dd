import { z } from 'zod';
import { stream } from './operation.ts';
import type { AuditEntry } from '../db/audit-log.ts';

export const eventsSubscribe = stream({
  params: z.object({ actions: z.array(z.string().min(1)).max(100).optional() }),
  changes: false,
  /** Every change of nodes and state is an entry of the audit trail: these are the events. */
  stream({ actions }, { subject, signal }, emit: (event: AuditEntry) => void) {
    if (signal.aborted) return { subscribed: true }; // nobody is there to end it
    const wanted = actions?.length ? new Set(actions) : undefined;
    const end = subject.onAuditEntry((entry) => {
      if (wanted === undefined || wanted.has(entry.action)) emit(entry);
    });
    signal.addEventListener('abort', end, { once: true });
    return { subscribed: true };
  },
});
