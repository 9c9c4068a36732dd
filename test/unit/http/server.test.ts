import { expect, test } from 'bun:test';
import { startHttpServer } from '../../../src/http/server.ts';
import { createLogger } from '../../../src/lib/log.ts';
import { Metrics } from '../../../src/lib/metrics.ts';
import type { Subject } from '../../../src/operations/subject.ts';
import { thisPlatform } from '../../../src/platform/index.ts';

test('a defect is answered with 500, which tells nothing, is logged with its stack, and counted', async () => {
  const lines: string[] = [];
  const metrics = new Metrics();
  metrics.onCollect(() => {
    throw new Error('a defect of the collector');
  });
  const subject = {
    phase(): never {
      throw new Error('a defect of the daemon');
    },
  } as unknown as Subject;
  await using server = startHttpServer({
    bind: '127.0.0.1',
    port: 0,
    subject,
    platform: thisPlatform(),
    metrics,
    log: createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) }).component('http'),
  });
  for (const path of ['/ready', '/metrics']) {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
    expect([answer.status, await answer.json()]).toEqual([500, { error: 'internal error' }]);
  }
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { msg: 'a request failed', path: '/ready', error: 'a defect of the daemon' },
    { msg: 'a request failed', path: '/metrics', error: 'a defect of the collector' },
  ]);
  expect(lines[0]).toContain('server.test.ts');
});
