import { expect, test } from 'bun:test';
import { changed, type MemberList, voters } from '../../../src/cluster/list.ts';
import { isRecovered, recovered } from '../../../src/cluster/recover.ts';
import { Bed, LEASE } from './support.ts';

const SURVIVORS = ['d', 'e'];
const OLD = '11111111-1111-4111-8111-111111111111';

/** Five nodes, of which d and e are left: e's disk was lost once, and d has not heard that e votes again. */
function left(): Bed {
  const bed = new Bed(['a', 'b', 'c', 'd', 'e']);
  const [d, e] = [bed.node('d'), bed.node('e')];
  const newer = (list: MemberList, change: Parameters<typeof changed>[1]): MemberList => ({
    term: 7,
    number: list.number + 1,
    nodes: changed(list, change)!,
  });
  const copy = { kind: 'admit', node_id: 'e', instance_id: 'e/2', role: 'node', votes: true } as const;
  let { list } = e.disk;
  list = newer(list, copy);
  list = newer(list, { kind: 'readmit', node_id: 'e' });
  list = newer(list, { kind: 'enfranchise', node_id: 'e' });
  d.disk = { ...d.disk, cluster_id: OLD, term: 5 };
  e.disk = { ...e.disk, cluster_id: OLD, term: 7, list, instance_id: 'e/2' };
  return bed;
}

function recover(bed: Bed): void {
  for (const id of SURVIVORS) {
    const node = bed.node(id);
    node.disk = { ...recovered(node.disk, id, SURVIVORS), serial: node.disk.serial + 1 };
    node.restart();
  }
}

test('survivors that knew different lists come to one of them, and elect a coordinator', () => {
  const bed = left();
  recover(bed);
  const [d, e] = [bed.node('d'), bed.node('e')];
  expect(d.disk.cluster_id).toBe(e.disk.cluster_id);
  bed.pass(4 * LEASE, [d, e]);
  expect(bed.reigning()).toHaveLength(1);
  expect(voters(d.disk.list).map(({ instance_id }) => instance_id)).toEqual(['d/1', 'e/2']);
  expect(d.disk.list).toEqual(e.disk.list);
});

test('what was done is not done again before something has come of it, and can be later', () => {
  const bed = left();
  const [d, e] = [bed.node('d'), bed.node('e')];
  expect(isRecovered(d.disk, SURVIVORS)).toBe(false);
  recover(bed);
  expect(isRecovered(d.disk, ['e', 'd', 'e'])).toBe(true);
  expect(isRecovered(d.disk, ['d'])).toBe(false);
  bed.pass(4 * LEASE, [d, e]);
  expect(isRecovered(d.disk, SURVIVORS)).toBe(false);
});
