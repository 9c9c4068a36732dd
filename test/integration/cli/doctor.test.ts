/** What doctor says of the other nodes, and of the clock of the database's host. */
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  setSystemTime,
  test,
} from 'bun:test';
import type { CheckResult } from '../../../src/cli/checks.ts';
import { runChecks } from '../../../src/cli/checks.ts';
import { serverCheck } from '../../../src/cli/postgresql-checks.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import { TestNode } from '../rpc/support.ts';

setDefaultTimeout(60_000);

let a: TestNode;
let b: TestNode;

beforeAll(async () => {
  a = await TestNode.start('node-a');
  b = await TestNode.start('node-b', { ca: a, join: [a.address] });
  await a.sees('node-a healthy', 'node-b healthy');
});

afterAll(async () => {
  for (const node of [b, a]) await node[Symbol.asyncDispose]();
});

async function saidOf(peer: string): Promise<CheckResult[]> {
  const { stdout } = await a.cli(['doctor', '--json']);
  const { checks } = JSON.parse(stdout) as { checks: CheckResult[] };
  return checks.filter(({ name, message }) => name === 'daemon' && message.includes(peer));
}

describe('doctor tells of another node', () => {
  test('that it is healthy', async () => {
    expect(await saidOf('node-b')).toEqual([
      { name: 'daemon', status: 'ok', message: 'node node-b is healthy', hint: null },
    ]);
  });

  test('that it is unreachable: once, with since when and why', async () => {
    await b.daemon.kill();
    await a.sees('node-a healthy', 'node-b unreachable');
    expect(await saidOf('node-b')).toEqual([
      {
        name: 'daemon',
        status: 'warn',
        message: expect.stringMatching(/^node-b \(127\.0\.0\.1:\d+\) unreachable for \d+ s: /),
        hint: 'on that host:  steep-repl status',
      },
    ]);
  });
});

describe('the clock of the database’s host', () => {
  afterEach(() => void setSystemTime());

  /** In this process, whose clock can be set. */
  async function clock(): Promise<CheckResult | undefined> {
    const platform = thisPlatform();
    const env = a.home.env();
    const loaded = loadConfig({ path: a.home.configFile, env, platform });
    const results = await runChecks([serverCheck], { loaded, platform, env });
    return results.find(({ message }) => message.includes('clock'));
  }

  test('is compared with ours: here it is the same', async () => {
    // A machine too busy to answer within a second measures badly.
    let seen = await clock();
    for (let i = 0; i < 30 && seen?.status !== 'ok'; i++) seen = await clock();
    expect(seen).toMatchObject({ name: 'server settings', status: 'ok' });
    expect(seen?.message).toMatch(/^the server's clock differs from ours by -?\d+ ms$/);
  });

  test.each([
    ['behind', 3600, -3_600_000],
    ['ahead of', -3600, 3_600_000],
  ])('is %s ours', async (_, seconds, offset) => {
    setSystemTime(new Date(Date.now() + seconds * 1000));
    const seen = await clock();
    expect(seen).toMatchObject({ status: 'warn', hint: 'let both hosts use NTP (chronyc tracking)' });
    const measured = Number(/by (-?\d+) ms/.exec(seen?.message ?? '')?.[1]);
    expect(Math.abs(measured - offset)).toBeLessThan(600_000);
  });
});
