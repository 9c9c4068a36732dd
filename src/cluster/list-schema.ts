/** The form in which the list of members is kept outside of this process: in state_dir, and in etcd. */
import { z } from 'zod';

export const listSchema = z.object({
  term: z.int(),
  number: z.int(),
  nodes: z.array(
    z.object({
      node_id: z.string(),
      instance_id: z.string(),
      role: z.enum(['node', 'witness', '']),
      state: z.enum(['member', 'offline', 'removed']),
      vote: z.enum(['never', 'soon', 'yes', 'suspended']),
    }),
  ),
});
