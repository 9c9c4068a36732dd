import { describe, expect, test } from 'bun:test';
import { answered, newSigns, type PeerSigns, statusOf } from '../../../src/cluster/detector.ts';

const THRESHOLDS = { degradedAfter: 2500, unreachableAfter: 4000 };

function status(signs: PeerSigns, now: number): string {
  return statusOf(signs, now, THRESHOLDS);
}

describe('a peer', () => {
  test('is unknown until it answers, and unreachable if it does not in time', () => {
    const signs = newSigns(1000);
    expect(status(signs, 1000)).toBe('unknown');
    expect(status(signs, 4999)).toBe('unknown');
    expect(status(signs, 5000)).toBe('unreachable');
  });

  test('is healthy, degraded, unreachable and healthy again as its silence grows and ends', () => {
    let signs = answered(newSigns(0), 100, 2);
    expect(status(signs, 100)).toBe('healthy');
    expect(status(signs, 2599)).toBe('healthy');
    expect(status(signs, 2600)).toBe('degraded');
    expect(status(signs, 4099)).toBe('degraded');
    expect(status(signs, 4100)).toBe('unreachable');
    signs = answered(signs, 60_000, 2);
    expect(status(signs, 60_000)).toBe('healthy');
  });

  test('changes nothing by losing one heartbeat of its defaults', () => {
    let signs = newSigns(0);
    for (const beat of [0, 1000, 3000, 4000]) {
      for (let now = Math.max(0, beat - 999); now < beat; now += 100)
        if (signs.lastAnswer !== undefined) expect(status(signs, now)).toBe('healthy');
      signs = answered(signs, beat, 5);
      expect(status(signs, beat)).toBe('healthy');
    }
  });

  test('is degraded while it answers slowly or without its PostgreSQL', () => {
    const signs = answered(newSigns(0), 100, 5);
    expect(status(answered(signs, 200, 1250), 200)).toBe('degraded');
    expect(status(answered(signs, 200, 1249), 200)).toBe('healthy');
    expect(status({ ...signs, postgresqlConnected: false }, 100)).toBe('degraded');
    expect(status({ ...signs, postgresqlConnected: true }, 100)).toBe('healthy');
  });

  test('is unreachable by its silence, whatever it last said of itself', () => {
    const signs = { ...answered(newSigns(0), 0, 5), postgresqlConnected: false };
    expect(status(signs, 4000)).toBe('unreachable');
  });

  test('forgets why a call failed as soon as it answers', () => {
    const failed = { ...newSigns(0), failure: 'connection refused' };
    expect(answered(failed, 1, 1).failure).toBeUndefined();
  });
});
