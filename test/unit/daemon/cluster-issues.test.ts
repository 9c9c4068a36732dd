import { expect, test } from 'bun:test';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { Durable } from '../../../src/cluster/state.ts';
import { clusterIssues } from '../../../src/daemon/cluster-issues.ts';

test('a witness alone is told that a node is missing, and how that one joins', () => {
  const self = {
    node_id: 'w',
    node_name: 'w',
    host: '',
    port: 5432,
    priority: 1,
    grpc_host: 'w1',
    grpc_port: 5433,
    role: 'witness',
  } as const;
  const state = new Durable(
    {
      instance_id: 'i',
      serial: 0,
      cluster_id: null,
      term: 0,
      vote: null,
      list: { term: 0, number: 0, nodes: [] },
      longest_promise: 0,
      members: [],
    },
    () => {},
  );
  const cluster = new Cluster({
    self,
    votes: true,
    state,
    now: () => 0,
    thresholds: () => ({ degradedAfter: 1, unreachableAfter: 2 }),
    allow: undefined,
  });
  cluster.found('c');
  const issues = clusterIssues({
    cluster,
    hasCoordinator: false,
    uptime: 60_000,
    startTime: 1000,
    twoNode: 'safe',
    store: 'builtin',
    founds: true,
    lost: undefined,
  });
  expect(issues).toEqual([
    {
      severity: 'warning',
      message: 'no coordinator: only witnesses belong to this cluster',
      hint: 'on a node with a PostgreSQL:  steep-repl nodes join w1:5433',
    },
  ]);
});
