/** All faults by name. */
import { certificateFaults } from './certificates.ts';
import { configurationFaults } from './configuration.ts';
import { diskFaults } from './disks.ts';
import type { Fault } from './fault.ts';
import { networkFaults } from './network.ts';
import { operatorActs } from './operator.ts';
import { postgresqlFaults } from './postgresql.ts';
import { processFaults } from './processes.ts';

const all = {
  ...processFaults,
  ...networkFaults,
  ...postgresqlFaults,
  ...diskFaults,
  ...certificateFaults,
  ...configurationFaults,
  ...operatorActs,
};

export type FaultName = keyof typeof all;
export const faults: Record<FaultName, Fault> = all;
