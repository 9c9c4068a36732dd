/** Tells what the election decided: once, in the log, in metrics, and to those who show it. */
import type { ElectionEvent } from '../cluster/election.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';

export interface ElectionReporter {
  log: Logger;
  metrics: Metrics;
  /** The list is another one. */
  onList: () => void;
  /** Another coordinator, or another list, is to be shown. */
  onChange: () => void;
}

export function reportElection({ log, metrics, onList, onChange }: ElectionReporter) {
  return (event: ElectionEvent): void => {
    switch (event.kind) {
      case 'standing':
        metrics.elections.inc();
        log.info('standing for election', { term: event.term });
        return;
      case 'elected':
        log.info('this node coordinates', { term: event.term });
        break;
      case 'ended':
        log.warn('this node coordinates no more', { term: event.term, reason: event.reason });
        break;
      case 'followed':
        log.info('coordinator', { coordinator: event.node_id, term: event.term });
        break;
      case 'lost':
        log.warn('no coordinator', { before: event.node_id, term: event.term });
        break;
      case 'list':
        onList();
        break;
    }
    onChange();
  };
}
