/** `state_dir/cluster.json`: who this node is, to which cluster it belongs, and how it voted. Written before anything depends on it. */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { NO_LIST } from '../cluster/list.ts';
import { listSchema } from '../cluster/list-schema.ts';
import type { ClusterState } from '../cluster/state.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { messageOf, SteepError } from '../lib/errors.ts';

const member = z.object({
  node_id: z.string(),
  node_name: z.string(),
  host: z.string(),
  port: z.int(),
  priority: z.int(),
  grpc_host: z.string().nullable(),
  grpc_port: z.int().nullable(),
  role: z.enum(['node', 'witness', '']),
  instance_id: z.string(),
  revision: z.int(),
});

const state = z.object({
  /** Of this file's form: a newer program may write what this one does not understand. */
  format: z.literal(1),
  instance_id: z.uuid(),
  serial: z.int(),
  cluster_id: z.uuid().nullable(),
  term: z.int(),
  vote: z.object({ node_id: z.string(), instance_id: z.string() }).nullable(),
  list: listSchema,
  longest_promise: z.number(),
  members: z.array(member),
});

const sealed = z.looseObject({ checksum: z.string() });

/** Over all else in the file: no damaged disk shall invent a vote, or forget one. */
function checksumOf(content: object): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}

export interface ClusterStateFile {
  read: () => ClusterState;
  write: (value: ClusterState) => void;
}

/** Makes the file, with a new instance id, where there is none. Throws FAILED for one that cannot be understood. */
export function clusterStateFile(stateDir: string): ClusterStateFile {
  const file = path.join(stateDir, 'cluster.json');
  const write = (value: ClusterState): void => {
    const content = { format: 1, ...value };
    writeFileAtomic(file, `${JSON.stringify({ ...content, checksum: checksumOf(content) }, null, 2)}\n`);
  };
  return {
    write,
    read() {
      if (!existsSync(file)) {
        const fresh: ClusterState = {
          instance_id: randomUUID(),
          serial: 0,
          cluster_id: null,
          term: 0,
          vote: null,
          list: NO_LIST,
          longest_promise: 0,
          members: [],
        };
        write(fresh);
        return fresh;
      }
      try {
        const { checksum, ...content } = sealed.parse(JSON.parse(readFileSync(file, 'utf8')));
        if (checksum !== checksumOf(content))
          throw new Error('its checksum is not that of what it holds; it was damaged, or changed by hand');
        return state.parse(content);
      } catch (error) {
        throw new SteepError(
          'FAILED',
          `${file} cannot be understood: ${error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error)}`,
          {
            cause: error,
            hint: 'put back the file from a backup; without it this node is a new one to its cluster',
          },
        );
      }
    },
  };
}
