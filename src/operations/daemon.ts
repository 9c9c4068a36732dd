import { z } from 'zod';
import { operation } from './operation.ts';

export const daemonReload = operation({
  params: z.object({}),
  changes: true,
  run: (_params, { subject, caller }) => subject.reload(caller.name),
});
