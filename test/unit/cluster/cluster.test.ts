import { describe, expect, test } from 'bun:test';
import { Cluster, type ClusterState } from '../../../src/cluster/cluster.ts';
import type { Member } from '../../../src/cluster/member.ts';
import { SteepError } from '../../../src/lib/errors.ts';

const HOME = '11111111-1111-4111-8111-111111111111';
const OTHER = '22222222-2222-4222-8222-222222222222';

function memberOf(id: string, changes: Partial<Member> = {}): Member {
  return {
    node_id: id,
    node_name: id,
    host: '10.0.0.1',
    port: 5432,
    priority: 50,
    grpc_host: '10.0.0.1',
    grpc_port: 5433,
    role: 'node',
    instance_id: `instance of ${id}`,
    revision: 1,
    membership: 0,
    ...changes,
  };
}

interface Bed {
  cluster: Cluster;
  stored: ClusterState[];
  clock: { now: number };
  /** What the disk throws at the next write. */
  disk: { error: Error | undefined };
}

function clusterOf(options: { id?: string | null; members?: Member[]; allow?: string[] } = {}): Bed {
  const { id = HOME, members = [], allow } = options;
  const stored: ClusterState[] = [];
  const clock = { now: 1000 };
  const disk: Bed['disk'] = { error: undefined };
  const cluster = new Cluster({
    self: memberOf('node-a'),
    state: { instance_id: 'instance of node-a', cluster_id: id, members },
    store(state) {
      if (disk.error) throw disk.error;
      stored.push(structuredClone(state));
    },
    now: () => clock.now,
    thresholds: () => ({ degradedAfter: 2500, unreachableAfter: 4000 }),
    allow,
  });
  return { cluster, stored, clock, disk };
}

function incoming(id: string, changes: Partial<Member> = {}): Omit<Member, 'membership'> {
  const { membership: _, ...rest } = memberOf(id, changes);
  return rest;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SteepError) return error.code;
    throw error;
  }
  return 'nothing thrown';
}

describe('who may register', () => {
  test('is a node of no cluster or of the same one, and it is stored before it is answered', () => {
    const { cluster, stored } = clusterOf();
    cluster.register(incoming('node-b'), '');
    cluster.register(incoming('node-c'), HOME);
    expect(stored.at(-1)?.members.map(({ node_id }) => node_id)).toEqual(['node-a', 'node-b', 'node-c']);
    expect(stored).toHaveLength(2);
  });

  test('is no node of another cluster', () => {
    const { cluster, stored } = clusterOf();
    expect(codeOf(() => cluster.register(incoming('node-b'), OTHER))).toBe('CONFLICT');
    expect(stored).toEqual([]);
  });

  test('is nobody while this node belongs to no cluster itself', () => {
    expect(codeOf(() => clusterOf({ id: null }).cluster.register(incoming('node-b'), ''))).toBe(
      'NOT_CONNECTED',
    );
  });

  test('is no node that cluster.allow does not name', () => {
    const { cluster } = clusterOf({ allow: ['node-b'] });
    expect(codeOf(() => cluster.register(incoming('node-c'), ''))).toBe('PERMISSION_DENIED');
    expect(codeOf(() => cluster.register(incoming('node-b'), ''))).toBe('nothing thrown');
  });

  test('is no removed node, with however new facts, until it is readmitted', () => {
    const { cluster } = clusterOf({ members: [memberOf('node-b')] });
    cluster.remove('node-b');
    const again = (): Member => cluster.register(incoming('node-b', { revision: 99, priority: 1 }), HOME);
    expect(codeOf(again)).toBe('PERMISSION_DENIED');
    cluster.readmit('node-b');
    expect(codeOf(again)).toBe('nothing thrown');
    expect(cluster.registry.find('node-b')).toMatchObject({ membership: 2, revision: 99, priority: 1 });
  });

  test('is no second living instance of an id, and the first one is left as it is', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    cluster.noteAnswer('node-b', 3);
    const second = incoming('node-b', { instance_id: 'a clone', host: '10.6.6.6', revision: 50 });
    expect(codeOf(() => cluster.register(second, HOME))).toBe('CONFLICT');
    expect(cluster.registry.find('node-b')).toEqual(memberOf('node-b'));
    clock.now += 4000;
    expect(codeOf(() => cluster.register(second, HOME))).toBe('nothing thrown');
  });

  test('is no second living instance of a node that beats but cannot be dialled', () => {
    const { cluster } = clusterOf({ members: [memberOf('node-b', { grpc_host: null, grpc_port: null })] });
    cluster.noteHeartbeat('node-b', true);
    expect(codeOf(() => cluster.register(incoming('node-b', { instance_id: 'a clone' }), HOME))).toBe(
      'CONFLICT',
    );
  });

  test('is no copy of this node itself', () => {
    const { cluster } = clusterOf();
    expect(codeOf(() => cluster.register(incoming('node-a', { instance_id: 'a clone' }), ''))).toBe(
      'CONFLICT',
    );
  });

  test('is a node whose state_dir was lost, and its new row wins over the old one', () => {
    const { cluster } = clusterOf({ members: [memberOf('node-b', { revision: 8, priority: 10 })] });
    cluster.register(incoming('node-b', { instance_id: 'new', revision: 1, priority: 20 }), '');
    expect(cluster.registry.find('node-b')).toMatchObject({ instance_id: 'new', revision: 9, priority: 20 });
  });

  test('is a peer that counts no revisions, and its newest facts are taken', () => {
    const peer = { role: '' as const, revision: 0, instance_id: '' };
    const { cluster, stored } = clusterOf();
    cluster.register(incoming('node-g', { ...peer, priority: 10 }), '');
    cluster.register(incoming('node-g', { ...peer, priority: 20 }), '');
    expect(cluster.registry.find('node-g')?.priority).toBe(20);
    const writes = stored.length;
    cluster.register(incoming('node-g', { ...peer, priority: 20 }), '');
    expect(stored).toHaveLength(writes);
  });

  test('is a node whose registration was overtaken on its way, and the newer facts stay', () => {
    const { cluster } = clusterOf();
    cluster.register(incoming('node-b', { revision: 3, priority: 30 }), '');
    cluster.register(incoming('node-b', { revision: 2, priority: 20 }), '');
    expect(cluster.registry.find('node-b')).toMatchObject({ revision: 3, priority: 30 });
  });
});

describe('a node that joins', () => {
  test('gives up a cluster of its own, and stores id and rows in one step', () => {
    const { cluster, stored } = clusterOf();
    cluster.adopt(OTHER, [memberOf('node-b'), memberOf('node-a', { revision: 4 })]);
    expect(stored).toHaveLength(1);
    expect(stored[0]).toMatchObject({ cluster_id: OTHER });
    expect(cluster.registry.members().map(({ node_id }) => node_id)).toEqual(['node-a', 'node-b']);
    expect(cluster.self.revision).toBe(5);
  });

  test('gives up no cluster in which somebody else arrived meanwhile', () => {
    const { cluster } = clusterOf();
    cluster.register(incoming('node-c'), '');
    expect(codeOf(() => cluster.adopt(OTHER, [memberOf('node-b')]))).toBe('CONFLICT');
    expect(cluster.id).toBe(HOME);
    expect(cluster.registry.find('node-c')).toBeDefined();
  });

  test('founds a cluster once only', () => {
    const { cluster } = clusterOf({ id: null });
    cluster.found(HOME);
    cluster.found(OTHER);
    expect(cluster.id).toBe(HOME);
  });
});

describe('what cannot be stored has not happened', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  const changes: Record<string, (cluster: Cluster) => unknown> = {
    'a registration': (cluster) => cluster.register(incoming('node-c'), ''),
    'a removal': (cluster) => cluster.remove('node-b'),
    'a lesson from a peer': (cluster) => cluster.learn([memberOf('node-b', { revision: 2 })]),
    'joining another cluster': (cluster) => cluster.adopt(OTHER, [memberOf('node-z')]),
  };
  for (const [what, change] of Object.entries(changes))
    test(what, () => {
      const alone = what === 'joining another cluster';
      const { cluster, disk, stored } = clusterOf({ members: alone ? [] : [memberOf('node-b')] });
      const before = structuredClone({ id: cluster.id, rows: cluster.registry.all() });
      disk.error = full;
      expect(() => change(cluster)).toThrow('ENOSPC');
      expect({ id: cluster.id, rows: cluster.registry.all() }).toEqual(before);
      disk.error = undefined;
      change(cluster);
      expect(stored).toHaveLength(1);
    });
});

describe('signs of life', () => {
  test('of a node that was removed do not count when it is readmitted', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    cluster.noteAnswer('node-b', 3);
    expect(cluster.peers()[0]?.status).toBe('healthy');
    cluster.remove('node-b');
    expect(cluster.peers()).toEqual([]);
    clock.now += 60_000;
    cluster.readmit('node-b');
    expect(cluster.peers()[0]?.status).toBe('unknown');
  });

  test('of a node that another one removed and readmitted do not count either', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    cluster.noteAnswer('node-b', 3);
    cluster.learn([memberOf('node-b', { membership: 1 })]);
    clock.now += 60_000;
    cluster.learn([memberOf('node-b', { membership: 2 })]);
    expect(cluster.peers()[0]?.status).toBe('unknown');
  });

  test('of this node are always there, and of one that never answered never', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    expect(cluster.answeredAgo('node-a')).toBe(0);
    expect(cluster.answeredAgo('node-b')).toBeUndefined();
    cluster.noteAnswer('node-b', 3);
    clock.now += 700;
    expect(cluster.answeredAgo('node-b')).toBe(700);
  });

  test('are not what a failure leaves: last_seen stays', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    cluster.noteAnswer('node-b', 3);
    clock.now += 900;
    cluster.noteFailure('node-b', 'connection refused');
    expect(cluster.answeredAgo('node-b')).toBe(900);
    expect(cluster.peers()[0]).toMatchObject({ failure: 'connection refused', silence: 900 });
  });
});
