/** Says that state_dir takes no writes: once when that begins, and once when it ends, not at every attempt. */
import type { ClusterState } from '../cluster/state.ts';
import { messageOf, SteepError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

/** Around a write that throws system errors. What it returns throws FAILED, which whoever catches it need not tell. */
export function tellingOnce(
  write: (state: ClusterState) => void,
  log: Logger,
): (state: ClusterState) => void {
  let failing = false;
  return (state) => {
    try {
      write(state);
    } catch (cause) {
      const error = new SteepError('FAILED', `state_dir cannot be written: ${messageOf(cause)}`, {
        hint: 'make room on its disk; until then this node neither votes nor changes anything',
        cause,
      });
      if (!failing) log.error(error.message, { hint: error.hint });
      failing = true;
      throw error;
    }
    if (failing) log.info('state_dir can be written again');
    failing = false;
  };
}

/** Whether this was told already. */
export function wasTold(error: unknown): boolean {
  return error instanceof SteepError && error.code === 'FAILED';
}
