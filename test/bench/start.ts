/** `version` beside an empty program, and the way from the start of a daemon to PostgreSQL. */
import { TestPostgres } from '../support/postgres.ts';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  BenchDaemon,
  type Benchmark,
  configFor,
  executable,
  median,
  requireExecutable,
  spread,
  temporaryFolder,
} from './harness.ts';

const RUNS = 30;

export const startOfExecutable: Benchmark = async () => {
  requireExecutable();
  const folder = temporaryFolder();
  const source = path.join(folder, 'empty.ts');
  const empty = path.join(folder, 'empty');
  writeFileSync(source, 'console.log("empty");\n');
  const options = ['--compile', '--minify', '--bytecode', '--format=esm'];
  const built = Bun.spawnSync(['bun', 'build', ...options, source, '--outfile', empty]);
  if (built.exitCode !== 0) throw new Error(built.stderr.toString());
  const time = (command: string[]): number => {
    const began = performance.now();
    Bun.spawnSync(command, { env: {} });
    return performance.now() - began;
  };
  const ratios: number[] = [];
  for (let i = -3; i < RUNS; i++) {
    const ratio = time([executable, 'version']) / time([empty]);
    if (i >= 0) ratios.push(ratio); // the first few warm the page cache
  }
  return [
    {
      what: '`version` beside an empty compiled program',
      reach: '≤ 2×',
      measured: spread(ratios, '×', 2),
      reached: median(ratios) <= 2,
      samples: ratios,
    },
  ];
};

export const startToConnected: Benchmark = async () => {
  requireExecutable();
  await using server = await TestPostgres.withExtension();
  const config = configFor(server, temporaryFolder());
  const samples: number[] = [];
  for (let i = 0; i < 15; i++) {
    const began = Date.now();
    await using daemon = new BenchDaemon(config);
    samples.push((await daemon.logged('connected to PostgreSQL')) - began);
  }
  return [
    {
      what: 'start of the daemon to PostgreSQL connected',
      reach: '≤ 500 ms median',
      measured: spread(samples, 'ms', 0),
      reached: median(samples) <= 500,
      samples,
    },
  ];
};
