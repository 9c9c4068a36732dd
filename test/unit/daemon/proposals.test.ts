import { expect, test } from 'bun:test';
import type { Cluster } from '../../../src/cluster/cluster.ts';
import type { Listed } from '../../../src/cluster/list.ts';
import { change, type Proposing } from '../../../src/daemon/proposals.ts';
import { SteepError } from '../../../src/lib/errors.ts';

/** A coordinator that gets the change through and ends before it says so; the next one has nothing left to do. */
async function askedTwice(
  kind: 'remove' | 'readmit',
  listed: Pick<Listed, 'state' | 'vote'>,
): Promise<unknown> {
  const answers = [
    new SteepError('NOT_CONNECTED', 'the coordinator ended before the change was done; maybe it is'),
    new SteepError('CONFLICT', 'it is so already'),
  ];
  const cluster = {
    id: 'c',
    self: { node_id: 'a' },
    list: { term: 3, number: 7, nodes: [] },
    listed: () => listed,
  } as unknown as Cluster;
  const proposing: Proposing = {
    cluster,
    clientOf: () => undefined,
    coordinator: () => ({ node_id: 'a', term: 3, since: 0 }),
    decide: async () => {
      throw answers.shift()!;
    },
    take: () => {},
    stopped: () => false,
  };
  return await change(proposing, { kind, node_id: 'b' }, undefined).catch((error: SteepError) => error.code);
}

test.each([
  ['remove', { state: 'removed', vote: 'suspended' }],
  ['readmit', { state: 'member', vote: 'soon' }],
] as const)('%s that a coordinator got through with its last breath is done', async (kind, listed) => {
  expect(await askedTwice(kind, listed)).toMatchObject({ term: 3, list: { number: 7 } });
});

test.each([
  ['remove', { state: 'member', vote: 'yes' }],
  ['readmit', { state: 'removed', vote: 'suspended' }],
] as const)('%s that it did not is refused as the next one says', async (kind, listed) => {
  expect(await askedTwice(kind, listed)).toBe('CONFLICT');
});
