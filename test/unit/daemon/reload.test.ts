import { describe, expect, test } from 'bun:test';
import type { Config } from '../../../src/config/schema.ts';
import { schema } from '../../../src/config/schema.ts';
import { mergeReloaded } from '../../../src/daemon/reload.ts';

function config(changes: (config: Config) => void = () => {}): Config {
  const parsed = schema.parse({ node_id: 'n1' }) as Config;
  changes(parsed);
  return parsed;
}

describe('a reload', () => {
  test('of the same file changes nothing', () => {
    expect(mergeReloaded(config(), config())).toEqual({ config: config(), applied: [], pending: [] });
  });

  test('takes level, retention and intervals at once', () => {
    const fresh = config((one) => {
      one.log.level = 'debug';
      one.audit.retention = 86_400_000;
      one.audit.prune_interval = 1000;
      one.heartbeat.interval = 500;
      one.heartbeat.degraded_after = 1500;
      one.heartbeat.unreachable_after = 9000;
      one.election.lease = 4000;
    });
    const { config: merged, applied, pending } = mergeReloaded(config(), fresh);
    expect(merged).toEqual(fresh);
    expect(pending).toEqual([]);
    expect(applied.toSorted()).toEqual([
      'audit.prune_interval',
      'audit.retention',
      'election.lease',
      'heartbeat.degraded_after',
      'heartbeat.interval',
      'heartbeat.unreachable_after',
      'log.level',
    ]);
  });

  test('leaves everything else as it runs, and names it', () => {
    const changes: Record<string, (config: Config) => void> = {
      enabled: (one) => (one.enabled = false),
      node_id: (one) => (one.node_id = 'n2'),
      role: (one) => (one.role = 'witness'),
      'postgresql.host': (one) => (one.postgresql.host = 'elsewhere'),
      'postgresql.password_command': (one) => (one.postgresql.password_command = ['cat', 'file']),
      'grpc.tls.cert_file': (one) => (one.grpc.tls.cert_file = '/other'),
      'election.store': (one) => (one.election.store = 'etcd'),
      'log.format': (one) => (one.log.format = 'pretty'),
      'cluster.join': (one) => (one.cluster.join = ['a:1']),
      'http.port': (one) => (one.http.port = 1),
    };
    for (const [key, change] of Object.entries(changes))
      expect(mergeReloaded(config(), config(change))).toEqual({
        config: config(),
        applied: [],
        pending: [key],
      });
  });

  test('forgets no change that still has to wait when another reload follows', () => {
    const first = mergeReloaded(
      config(),
      config((one) => (one.http.port = 1)),
    );
    const second = mergeReloaded(
      first.config,
      config((one) => {
        one.http.port = 1;
        one.log.level = 'warn';
      }),
    );
    expect(second).toMatchObject({ applied: ['log.level'], pending: ['http.port'] });
  });
});
