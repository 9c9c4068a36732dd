/** Whether an old copy of state_dir is known for one, also when the disk refuses at first. */
import { expect, test } from 'bun:test';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { NO_LIST } from '../../../src/cluster/list.ts';
import { Durable } from '../../../src/cluster/state.ts';
import { OwnState } from '../../../src/daemon/own-state.ts';
import type { Database } from '../../../src/db/database.ts';
import { createLogger } from '../../../src/lib/log.ts';

function bed(remembered: object | undefined, serial = 3) {
  const disk: { error: Error | undefined } = { error: undefined };
  const state = new Durable(
    {
      instance_id: 'old',
      serial,
      cluster_id: 'c',
      term: 1,
      vote: null,
      list: NO_LIST,
      longest_promise: 0,
      members: [],
    },
    () => {
      if (disk.error) throw disk.error;
    },
  );
  const cluster = new Cluster({
    self: {
      node_id: 'node-a',
      node_name: 'node-a',
      host: 'h',
      port: 1,
      priority: 1,
      grpc_host: null,
      grpc_port: null,
      role: 'node',
    },
    votes: true,
    state,
    now: () => 0,
    thresholds: () => ({ degradedAfter: 1, unreachableAfter: 2 }),
    allow: undefined,
  });
  const checked: unknown[] = [];
  const log = createLogger({ level: 'error', format: 'json', write: () => {} }).component('test');
  const own = new OwnState({ cluster, state, onChecked: (lost) => void checked.push(lost), log });
  const rows = remembered === undefined ? [] : [{ value: remembered }];
  const database = { query: () => Promise.resolve(rows) } as unknown as Database;
  return { disk, state, own, checked, look: () => own.check(database) };
}

const NEWER = { node_id: 'node-a', instance_id: 'old', cluster_id: 'c', serial: 9, others: ['b:1'] };

test('an old copy becomes another copy, once', async () => {
  const { state, checked, look } = bed(NEWER);
  await look();
  await look();
  expect(state.current.instance_id).not.toBe('old');
  expect(checked).toEqual([{ addresses: ['b:1'] }]);
});

test('a disk that refuses this is tried again, and nothing is trusted until then', async () => {
  const { disk, state, checked, look } = bed(NEWER);
  disk.error = new Error('ENOSPC');
  expect(await look().catch((error: Error) => error.message)).toBe('ENOSPC');
  expect(checked).toEqual([]);
  disk.error = undefined;
  await look();
  expect(state.current.instance_id).not.toBe('old');
  expect(checked).toEqual([{ addresses: ['b:1'] }]);
});

test('an old copy that writes much before PostgreSQL can be asked stays one, also after another start', async () => {
  const first = bed(NEWER);
  for (let writes = 0; writes < 10; writes += 1) first.state.update({ term: 2 + writes });
  const second = bed(NEWER, first.state.current.serial);
  await second.look();
  expect(second.state.current.instance_id).not.toBe('old');
  expect(second.checked).toEqual([{ addresses: ['b:1'] }]);
});

test('what was written before the state was believed counts from then on', async () => {
  const { state, look } = bed({ ...NEWER, serial: 3 });
  state.update({ term: 2 });
  state.update({ term: 3 });
  expect(state.current.serial).toBe(3);
  await look();
  expect(state.current).toMatchObject({ instance_id: 'old', term: 3, serial: 4 });
  state.update({ term: 4 });
  expect(state.current.serial).toBe(5);
});

test('what a run wrote that never came to be believed counts when the next one is', async () => {
  const first = bed({ ...NEWER, serial: 3 });
  first.state.update({ term: 2 });
  const second = bed({ ...NEWER, serial: 3 }, first.state.current.serial);
  await second.look();
  expect(second.state.current.serial).toBe(4);
});

test.each([
  ['nothing is remembered', undefined],
  ['what is remembered is older', { ...NEWER, serial: 3 }],
  ['the database is a copy of another node’s', { ...NEWER, node_id: 'node-b' }],
  ['the node was alone', { ...NEWER, others: [] }],
])('the state is believed when %s', async (_what, remembered) => {
  const { state, checked, look } = bed(remembered);
  await look();
  expect(state.current.instance_id).toBe('old');
  expect(checked).toEqual([undefined]);
});
