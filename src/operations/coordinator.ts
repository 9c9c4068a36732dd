import { z } from 'zod';
import { operation } from './operation.ts';

export const coordinatorGet = operation({
  params: z.object({}),
  changes: false,
  run: (_params, { subject }) => ({
    ...subject.coordinator(),
    lease_ms: subject.config().election.lease,
    voters: [] as string[],
    reachable_voters: [] as string[],
  }),
});
