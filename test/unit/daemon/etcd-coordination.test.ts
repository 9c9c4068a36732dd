import { describe, expect, test } from 'bun:test';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { foundersList } from '../../../src/cluster/list.ts';
import { Durable } from '../../../src/cluster/state.ts';
import type { Config } from '../../../src/config/schema.ts';
import { BuiltinCoordination } from '../../../src/daemon/builtin-coordination.ts';
import { coordinationFor, EtcdCoordination } from '../../../src/daemon/etcd-coordination.ts';
import { createLogger } from '../../../src/lib/log.ts';

const ID = '11111111-1111-4111-8111-111111111111';

function coordinationBy(store: 'builtin' | 'etcd') {
  const state = new Durable(
    {
      instance_id: 'a1',
      serial: 0,
      cluster_id: ID,
      term: 7,
      vote: null,
      list: foundersList({ node_id: 'a', instance_id: 'a1', role: 'node' }),
      longest_promise: 0,
      members: [],
    },
    () => {},
  );
  const cluster = new Cluster({
    self: {
      node_id: 'a',
      node_name: 'a',
      host: 'a',
      port: 5432,
      priority: 50,
      grpc_host: 'a',
      grpc_port: 5433,
      role: 'node',
    },
    votes: true,
    state,
    now: () => performance.now(),
    thresholds: () => ({ degradedAfter: 2500, unreachableAfter: 4000 }),
    allow: undefined,
  });
  const etcd = { endpoints: ['http://127.0.0.1:1'], prefix: '/steep-repl' };
  const config = {
    election: { lease: 3000, store, etcd, two_node: 'safe' },
    heartbeat: { interval: 1000 },
  } as Config;
  return coordinationFor({
    cluster,
    state,
    config: () => config,
    standing: () => ({ healthy: true, rank: 0 }),
    clientOf: () => undefined,
    dial: () => undefined,
    onEvent: () => {},
    log: createLogger({ level: 'error', format: 'json', write: () => {} }),
    platform: { readableByOthers: () => undefined },
  });
}

describe('who decides', () => {
  test('is the store that the configuration names', () => {
    expect(coordinationBy('builtin')).toBeInstanceOf(BuiltinCoordination);
    expect(coordinationBy('etcd')).toBeInstanceOf(EtcdCoordination);
  });
});

describe('a node that asks etcd', () => {
  test('votes for nobody, and says who asked', () => {
    const coordination = coordinationBy('etcd');
    expect(coordination.issues?.()).not.toContainEqual(expect.objectContaining({ severity: 'error' }));
    const vote = {
      kind: 'vote',
      trial: true,
      cluster_id: ID,
      term: 8,
      instance_id: 'b1',
      list: { term: 0, number: 1 },
    } as const;
    expect(() => coordination.handle('b', vote)).toThrow('decided by etcd');
    expect(coordination.issues?.()).toContainEqual(
      expect.objectContaining({ severity: 'error', message: expect.stringContaining('b asks for votes') }),
    );
  });

  test('changes nothing for others while it does not coordinate', async () => {
    const refused = coordinationBy('etcd').decide(ID, { kind: 'offline', node_id: 'a' }, undefined);
    expect(await refused.catch((error: unknown) => error)).toMatchObject({ code: 'NOT_CONNECTED' });
  });
});
