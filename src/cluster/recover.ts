/**
 * When the majority is lost for good: the survivors become a cluster of their own. Each is told by itself, with its
 * daemon stopped; that all come to the same cluster id without a word between them is because it follows from what
 * they share: the old id and who survives. Not every survivor need have heard of the last changes: their lists keep
 * the order of the old ones, so that the newest one wins, and any that is made later wins over them. Nobody of the
 * old cluster is let in any more.
 */
import { createHash } from 'node:crypto';
import { SteepError } from '../lib/errors.ts';
import { belonging } from './list.ts';
import type { ClusterState } from './state.ts';

/** Whether this was done already, and nothing has happened since. */
export function isRecovered({ list }: ClusterState, survivors: readonly string[]): boolean {
  const ids = belonging(list).map(({ node_id }) => node_id);
  return (
    list.term === 0 && list.number > 1 && ids.toSorted().join() === [...new Set(survivors)].sort().join()
  );
}

/** Throws INVALID_REQUEST naming who cannot be a survivor, CONFLICT for one whose state was lost. */
export function recovered(
  state: ClusterState,
  self: string,
  survivors: readonly string[],
): Omit<ClusterState, 'serial'> {
  const wanted = [...new Set(survivors)].sort();
  if (state.cluster_id === null) throw new SteepError('INVALID_REQUEST', `${self} belongs to no cluster`);
  if (!wanted.includes(self))
    throw new SteepError('INVALID_REQUEST', `${self} is not among the survivors ${wanted.join(', ')}`, {
      hint: 'run it on each survivor, with the same list',
    });
  const own = belonging(state.list).find(({ node_id }) => node_id === self);
  if (own && own.instance_id !== state.instance_id)
    throw new SteepError(
      'CONFLICT',
      `the state_dir of ${self} was lost, or is an old copy: it cannot be a survivor`,
      {
        hint: 'recover without it, and let it join afterwards',
      },
    );
  const nodes = wanted.map((id) => {
    const listed = belonging(state.list).find(({ node_id }) => node_id === id);
    if (!listed)
      throw new SteepError('INVALID_REQUEST', `'${id}' is not a node of this cluster`, {
        hint: `its nodes: ${belonging(state.list)
          .map(({ node_id }) => node_id)
          .join(', ')}`,
      });
    return {
      ...listed,
      state: 'member' as const,
      vote: listed.vote === 'never' ? ('never' as const) : ('yes' as const),
    };
  });
  if (!nodes.some(({ role, vote }) => role === 'node' && vote === 'yes'))
    throw new SteepError(
      'INVALID_REQUEST',
      'no survivor could coordinate: each is a witness or does not vote',
    );
  return {
    ...state,
    cluster_id: idOf(state.cluster_id, wanted),
    term: 0,
    vote: null,
    list: { term: 0, number: state.list.number + 1, nodes },
  };
}

/** A UUID (version 8: made as its maker sees fit). */
function idOf(before: string, survivors: readonly string[]): string {
  const digest = createHash('sha256')
    .update(`${before} ${survivors.join(' ')}`)
    .digest();
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x80;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  const hex = digest.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}
