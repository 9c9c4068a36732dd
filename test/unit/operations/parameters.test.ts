import { describe, expect, test } from 'bun:test';
import { SteepError } from '../../../src/lib/errors.ts';
import { operations, perform, streams } from '../../../src/operations/index.ts';
import type { Caller } from '../../../src/operations/operation.ts';
import type { Subject } from '../../../src/operations/subject.ts';

const MAY: Caller = { name: 'root', mayChange: true };
const MAY_NOT: Caller = { name: 'nobody', mayChange: false };

/** Anything that is asked of it is a fault: what is tested here ends before. */
const untouched = new Proxy({} as Subject, {
  get(_target, name) {
    throw new Error(`the daemon was asked for ${String(name)}`);
  },
});

async function refusal(method: string, params: unknown, caller = MAY): Promise<SteepError> {
  const context = { subject: untouched, caller, signal: new AbortController().signal };
  try {
    await perform(method, params, context, () => {});
  } catch (error) {
    if (error instanceof SteepError) return error;
    throw error;
  }
  throw new Error(`${method} was not refused`);
}

describe('a bad parameter names itself', () => {
  test.each([
    ['audit.query', { limit: 0 }, 'params.limit'],
    ['audit.query', { limit: 1001 }, 'params.limit'],
    ['audit.query', { limit: 1.5 }, 'params.limit'],
    ['audit.query', { limit: '5' }, 'params.limit'],
    ['audit.query', { limit: null }, 'params.limit'],
    ['audit.query', { offset: -1 }, 'params.offset'],
    ['audit.query', { offset: 1e7 }, 'params.offset'],
    ['audit.query', { action_filter: 'node.updated' }, 'params.action_filter'],
    ['audit.query', { action_filter: [''] }, 'params.action_filter.0'],
    ['audit.query', { action_filter: ['a', 5] }, 'params.action_filter.1'],
    ['audit.query', { action_filter: Array.from({ length: 101 }, () => 'a') }, 'params.action_filter'],
    ['audit.query', { actor_filter: {} }, 'params.actor_filter'],
    ['audit.query', { target_type: 5 }, 'params.target_type'],
    ['audit.query', { target_id: [] }, 'params.target_id'],
    ['audit.query', { success: 'true' }, 'params.success'],
    ['audit.query', { since: 'yesterday' }, 'params.since'],
    ['audit.query', { since: '2026-01-01' }, 'params.since'],
    ['audit.query', { since: '2026-01-01T00:00:00' }, 'params.since'],
    ['audit.query', { until: '2026-02-30T00:00:00Z' }, 'params.until'],
    ['audit.query', { until: 1_700_000_000 }, 'params.until'],
    ['audit.query', { cursor: 5 }, 'params.cursor'],
    ['nodes.get', {}, 'params.node_id'],
    ['nodes.get', { node_id: '' }, 'params.node_id'],
    ['nodes.get', { node_id: 7 }, 'params.node_id'],
    ['nodes.list', { status_filter: 'healthy' }, 'params.status_filter'],
    ['nodes.list', { status_filter: ['well'] }, 'params.status_filter.0'],
    ['events.subscribe', { actions: 'node.updated' }, 'params.actions'],
    ['events.subscribe', { actions: [''] }, 'params.actions.0'],
    ['events.subscribe', { actions: [1] }, 'params.actions.0'],
    ['nodes.join', {}, 'params.address'],
    ['nodes.join', { address: 5 }, 'params.address'],
    ['nodes.join', { address: 'no-port' }, 'address'],
    ['health.remote', {}, 'params.address'],
    ['health.remote', { address: 'host:99999' }, 'address'],
    ['nodes.remove', { node_id: '' }, 'params.node_id'],
    ['nodes.readmit', {}, 'params.node_id'],
    ['status.get', 'please', 'params'],
    ['status.get', [], 'params'],
    ['status.get', 5, 'params'],
  ])('%s with %p: %s', async (method, params, name) => {
    const { code, message } = await refusal(method, params);
    expect(code).toBe('INVALID_REQUEST');
    expect(message.startsWith(`${name}: `)).toBe(true);
  });

  test('and two of them are both named', async () => {
    const { message } = await refusal('audit.query', { limit: 0, offset: -1 });
    expect(message).toMatch(/^params\.limit: .+; params\.offset: /);
  });
});

describe('a method', () => {
  test.each([
    '',
    'status',
    'STATUS.GET',
    'status.get ',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
  ])('named %p does not exist', async (name) => {
    const { code, message } = await refusal(name, {});
    expect(code).toBe('METHOD_NOT_FOUND');
    expect(message).toContain(`'${name}'`);
  });

  test('that changes something is refused to those who may not, before their parameters are looked at', async () => {
    const changing = Object.entries({ ...operations, ...streams }).filter(([, { changes }]) => changes);
    expect(changing.map(([name]) => name)).toContain('daemon.reload');
    for (const [name] of changing) {
      const { code, message } = await refusal(name, 'nonsense', MAY_NOT);
      expect(code).toBe('PERMISSION_DENIED');
      expect(message).toBe(`nobody may not call ${name}`);
    }
  });
});

test('a subscription of somebody who has gone is not kept', async () => {
  let kept = 0;
  const subject = { onAuditEntry: () => ((kept += 1), () => {}) } as unknown as Subject;
  const context = { subject, caller: MAY, signal: AbortSignal.abort() };
  await perform('events.subscribe', {}, context, () => {});
  expect(kept).toBe(0);
  await perform('events.subscribe', {}, { ...context, signal: new AbortController().signal }, () => {});
  expect(kept).toBe(1);
});
