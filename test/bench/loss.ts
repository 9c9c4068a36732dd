/** How fast a daemon sees that PostgreSQL is gone, or hangs, and that it is back. */
import { TestPostgres } from '../support/postgres.ts';
import {
  BenchDaemon,
  type Benchmark,
  configFor,
  median,
  requireExecutable,
  spread,
  temporaryFolder,
} from './harness.ts';

const ROUNDS = 10;

export const lossAndRecovery: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  await using daemon = new BenchDaemon(configFor(server, temporaryFolder()));
  await daemon.logged('connected to PostgreSQL');
  const killed: number[] = [];
  const back: number[] = [];
  const hung: number[] = [];
  const resumed: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    // At a different point of the probe's period each time.
    await Bun.sleep(700 + i * 50);
    let began = Date.now();
    await server.signal('SIGKILL');
    killed.push((await daemon.logged('lost PostgreSQL', began)) - began);
    await Bun.sleep(i * 300);
    await server.start();
    began = Date.now();
    back.push(Math.max(0, (await daemon.logged('connected to PostgreSQL', began - 100)) - began));
    await Bun.sleep(700 + i * 50);
    began = Date.now();
    server.freeze('SIGSTOP');
    hung.push((await daemon.logged('lost PostgreSQL', began)) - began);
    await Bun.sleep(i * 300);
    began = Date.now();
    server.freeze('SIGCONT');
    resumed.push((await daemon.logged('connected to PostgreSQL', began)) - began);
  }
  const row = (what: string, reach: string, limit: number, samples: number[]) => ({
    what,
    reach,
    measured: spread(samples, 'ms', 0),
    reached: Math.max(...samples) <= limit && median(samples) <= limit,
    samples,
  });
  return [
    row('loss of PostgreSQL seen, killed with -9', '≤ 2 s', 2000, killed),
    row('loss of PostgreSQL seen, frozen', '≤ 2 s', 2000, hung),
    row('PostgreSQL recovered, restarted', '≤ 1 s', 1000, back),
    row('PostgreSQL recovered, unfrozen', '≤ 1 s', 1000, resumed),
  ];
};
