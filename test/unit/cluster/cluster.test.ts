import { describe, expect, test } from 'bun:test';
import { Cluster } from '../../../src/cluster/cluster.ts';
import { changed, type Change, type MemberList } from '../../../src/cluster/list.ts';
import type { Member } from '../../../src/cluster/member.ts';
import { type ClusterState, Durable } from '../../../src/cluster/state.ts';
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
    ...changes,
  };
}

function listOf(members: readonly Member[], number = 1): MemberList {
  const nodes = members.map(({ node_id, instance_id, role }) => ({ node_id, instance_id, role }));
  return { term: 1, number, nodes: nodes.map((one) => ({ ...one, state: 'member', vote: 'yes' })) };
}

interface Bed {
  cluster: Cluster;
  state: Durable;
  stored: ClusterState[];
  clock: { now: number; slept: number };
  /** What the disk throws at the next write. */
  disk: { error: Error | undefined };
}

function clusterOf(options: { id?: string | null; members?: Member[]; allow?: string[] } = {}): Bed {
  const { id = HOME, members = [], allow } = options;
  const stored: ClusterState[] = [];
  const clock = { now: 1000, slept: 0 };
  const disk: Bed['disk'] = { error: undefined };
  const state = new Durable(
    {
      instance_id: 'instance of node-a',
      serial: 0,
      cluster_id: id,
      term: 1,
      vote: null,
      list: listOf(id === null ? [] : [memberOf('node-a'), ...members]),
      longest_promise: 0,
      members,
    },
    (fresh) => {
      if (disk.error) throw disk.error;
      stored.push(structuredClone(fresh));
    },
  );
  const cluster = new Cluster({
    self: memberOf('node-a'),
    votes: true,
    state,
    now: () => clock.now,
    awake: () => clock.now - clock.slept,
    thresholds: () => ({ degradedAfter: 2500, unreachableAfter: 4000 }),
    allow,
  });
  return { cluster, state, stored, clock, disk };
}

/** What a coordinator makes of a change. */
function decide({ state, cluster }: Bed, change: Change): void {
  const { list } = state.current;
  const nodes = changed(list, change);
  if (nodes) state.update({ list: { ...list, number: list.number + 1, nodes } });
  cluster.forgetStrangers();
}

/** A node asks to be known, and the coordinator lets it in. */
function register(bed: Bed, member: Member, clusterId = ''): Member {
  const change = bed.cluster.admission({ member, clusterId, votes: true });
  if (change) decide(bed, change);
  return bed.cluster.register(member);
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
  test('is a node of no cluster or of the same one, and it is stored', () => {
    const bed = clusterOf();
    register(bed, memberOf('node-b'));
    register(bed, memberOf('node-c'), HOME);
    expect(bed.stored.at(-1)?.members.map(({ node_id }) => node_id)).toEqual(['node-a', 'node-b', 'node-c']);
    expect(bed.cluster.members().map(({ node_id }) => node_id)).toEqual(['node-a', 'node-b', 'node-c']);
  });

  test('is no node of another cluster', () => {
    const bed = clusterOf();
    expect(codeOf(() => register(bed, memberOf('node-b'), OTHER))).toBe('CONFLICT');
    expect(bed.stored).toEqual([]);
  });

  test('is nobody while this node belongs to no cluster itself', () => {
    expect(codeOf(() => register(clusterOf({ id: null }), memberOf('node-b')))).toBe('NOT_CONNECTED');
  });

  test('is, of two nodes that join each other at one moment, the one with the greater id', async () => {
    const bed = clusterOf();
    await bed.cluster.whileJoining(async () => {
      expect(codeOf(() => register(bed, memberOf('a-smaller-one')))).toBe('NOT_CONNECTED');
      expect(codeOf(() => register(bed, memberOf('node-b')))).toBe('nothing thrown');
    });
    expect(codeOf(() => register(bed, memberOf('a-smaller-one')))).toBe('nothing thrown');
  });

  test('is no node that cluster.allow does not name', () => {
    const bed = clusterOf({ allow: ['node-b'] });
    expect(codeOf(() => register(bed, memberOf('node-c')))).toBe('PERMISSION_DENIED');
    expect(codeOf(() => register(bed, memberOf('node-b')))).toBe('nothing thrown');
  });

  test('is, once removed, wanted no more where cluster.allow does not name it: elections ask for no more', () => {
    const bed = clusterOf({ allow: [], members: [memberOf('node-b')] });
    const refused = (): string => codeOf(() => bed.cluster.refuseUnwanted('node-b'));
    expect(refused()).toBe('nothing thrown');
    decide(bed, { kind: 'remove', node_id: 'node-b' });
    expect(refused()).toBe('PERMISSION_DENIED');
    decide(bed, { kind: 'readmit', node_id: 'node-b' });
    expect(refused()).toBe('nothing thrown');
  });

  test('is no removed node, with however new facts, until it is readmitted', () => {
    const bed = clusterOf({ members: [memberOf('node-b')] });
    decide(bed, { kind: 'remove', node_id: 'node-b' });
    const again = (): Member => register(bed, memberOf('node-b', { revision: 99, priority: 1 }), HOME);
    expect(codeOf(again)).toBe('PERMISSION_DENIED');
    decide(bed, { kind: 'readmit', node_id: 'node-b' });
    expect(codeOf(again)).toBe('nothing thrown');
    expect(bed.cluster.registry.find('node-b')).toMatchObject({ revision: 99, priority: 1 });
    expect(bed.cluster.listed('node-b')).toMatchObject({ state: 'member', vote: 'soon' });
  });

  test('is no second living instance of an id, and the first one is left as it is', () => {
    const bed = clusterOf({ members: [memberOf('node-b')] });
    bed.cluster.noteAnswer('node-b', 3);
    const second = memberOf('node-b', { instance_id: 'a clone', host: '10.6.6.6', revision: 50 });
    expect(codeOf(() => register(bed, second, HOME))).toBe('CONFLICT');
    expect(bed.cluster.registry.find('node-b')).toEqual(memberOf('node-b'));
    bed.clock.now += 4000;
    expect(codeOf(() => register(bed, second, HOME))).toBe('nothing thrown');
  });

  test('is no second living instance of a node that beats but cannot be dialled', () => {
    const bed = clusterOf({ members: [memberOf('node-b', { grpc_host: null, grpc_port: null })] });
    bed.cluster.noteHeartbeat('node-b', true);
    expect(codeOf(() => register(bed, memberOf('node-b', { instance_id: 'a clone' }), HOME))).toBe(
      'CONFLICT',
    );
  });

  test('is no copy of this node itself', () => {
    const bed = clusterOf();
    expect(codeOf(() => register(bed, memberOf('node-a', { instance_id: 'a clone' })))).toBe('CONFLICT');
  });

  test('is a node whose state_dir was lost: its new row wins, and it does not vote', () => {
    const bed = clusterOf({ members: [memberOf('node-b', { revision: 8, priority: 10 })] });
    register(bed, memberOf('node-b', { instance_id: 'new', revision: 1, priority: 20 }));
    expect(bed.cluster.registry.find('node-b')).toMatchObject({
      instance_id: 'new',
      revision: 9,
      priority: 20,
    });
    expect(bed.cluster.listed('node-b')).toMatchObject({ instance_id: 'new', vote: 'suspended' });
  });

  test('is a peer that counts no revisions, and its newest facts are taken', () => {
    const peer = { role: '' as const, revision: 0, instance_id: '' };
    const bed = clusterOf();
    register(bed, memberOf('node-g', { ...peer, priority: 10 }));
    register(bed, memberOf('node-g', { ...peer, priority: 20 }));
    expect(bed.cluster.registry.find('node-g')?.priority).toBe(20);
    expect(bed.cluster.listed('node-g')).toMatchObject({ vote: 'never' });
    const writes = bed.stored.length;
    register(bed, memberOf('node-g', { ...peer, priority: 20 }));
    expect(bed.stored).toHaveLength(writes);
  });

  test('is a node whose registration was overtaken on its way, and the newer facts stay', () => {
    const bed = clusterOf();
    register(bed, memberOf('node-b', { revision: 3, priority: 30 }));
    register(bed, memberOf('node-b', { revision: 2, priority: 20 }));
    expect(bed.cluster.registry.find('node-b')).toMatchObject({ revision: 3, priority: 30 });
  });
});

describe('a node that joins', () => {
  const theirs = [memberOf('node-a', { revision: 4 }), memberOf('node-b')];
  const joined = { clusterId: OTHER, term: 7, list: listOf(theirs, 3), members: theirs };

  test('gives up a cluster of its own, and stores id, term, list and rows in one step', () => {
    const { cluster, stored } = clusterOf();
    cluster.adopt(joined);
    expect(stored).toHaveLength(1);
    expect(stored[0]).toMatchObject({ cluster_id: OTHER, term: 7, vote: null, list: { number: 3 } });
    expect(cluster.members().map(({ node_id }) => node_id)).toEqual(['node-a', 'node-b']);
    expect(cluster.self.revision).toBe(5);
  });

  test('gives up no cluster in which somebody else arrived meanwhile', () => {
    const bed = clusterOf();
    register(bed, memberOf('node-c'));
    expect(codeOf(() => bed.cluster.adopt(joined))).toBe('CONFLICT');
    expect(bed.cluster.id).toBe(HOME);
    expect(bed.cluster.registry.find('node-c')).toBeDefined();
  });

  test('founds a cluster once only, and votes in it', () => {
    const { cluster } = clusterOf({ id: null });
    cluster.found(HOME);
    cluster.found(OTHER);
    expect(cluster.id).toBe(HOME);
    expect(cluster.listed('node-a')).toMatchObject({ vote: 'yes', instance_id: 'instance of node-a' });
  });
});

describe('a node whose state is an old copy', () => {
  test('is another copy of itself from then on, for everybody', () => {
    const { cluster, stored } = clusterOf({ members: [memberOf('node-b')] });
    const before = cluster.self;
    cluster.disown('new');
    expect(cluster.instanceId).toBe('new');
    expect(cluster.self).toEqual({ ...before, instance_id: 'new', revision: before.revision + 1 });
    expect(stored).toHaveLength(1);
    expect(stored[0]).toMatchObject({ instance_id: 'new' });
  });
});

describe('what cannot be stored has not happened', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  const changes: Record<string, (cluster: Cluster) => unknown> = {
    'a registration': (cluster) => cluster.register(memberOf('node-c')),
    'a lesson from a peer': (cluster) => cluster.learn([memberOf('node-b', { revision: 2 })]),
    'joining another cluster': (cluster) =>
      cluster.adopt({
        clusterId: OTHER,
        term: 1,
        list: listOf([memberOf('node-z')]),
        members: [memberOf('node-z')],
      }),
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
    const bed = clusterOf({ members: [memberOf('node-b')] });
    bed.cluster.noteAnswer('node-b', 3);
    expect(bed.cluster.peers()[0]?.status).toBe('healthy');
    decide(bed, { kind: 'remove', node_id: 'node-b' });
    expect(bed.cluster.peers()).toEqual([]);
    bed.clock.now += 60_000;
    decide(bed, { kind: 'readmit', node_id: 'node-b' });
    expect(bed.cluster.peers()[0]?.status).toBe('unknown');
  });

  test('do not end what an operator said: offline stays, and what is seen is known beside it', () => {
    const bed = clusterOf({ members: [memberOf('node-b')] });
    decide(bed, { kind: 'offline', node_id: 'node-b' });
    bed.cluster.noteAnswer('node-b', 3);
    bed.cluster.noteHeartbeat('node-b', true);
    expect(bed.cluster.peers()[0]).toMatchObject({ status: 'offline', seen: 'healthy' });
    decide(bed, { kind: 'online', node_id: 'node-b' });
    expect(bed.cluster.peers()[0]?.status).toBe('healthy');
  });

  test('of this node are always there, and of one that never answered never', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    expect(cluster.answeredAgo('node-a')).toBe(0);
    expect(cluster.answeredAgo('node-b')).toBeUndefined();
    cluster.noteAnswer('node-b', 3);
    clock.now += 700;
    expect(cluster.answeredAgo('node-b')).toBe(700);
  });

  test('are not missed while this process stood still, and last_seen does not move by it', () => {
    const { cluster, clock } = clusterOf({ members: [memberOf('node-b')] });
    cluster.noteAnswer('node-b', 1);
    clock.now += 60_700;
    clock.slept += 60_000;
    expect(cluster.peers()).toMatchObject([{ status: 'healthy', silence: 700 }]);
    expect(cluster.answeredAgo('node-b')).toBe(60_700);
    clock.now += 4000;
    expect(cluster.peers()[0]?.status).toBe('unreachable');
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
