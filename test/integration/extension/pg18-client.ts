/**
 * psql, pg_dump and pg_restore 18 from the folder that STEEP_PG18_CLIENT names;
 * test/support/fetch-pg18-client.sh fills it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const dir = process.env['STEEP_PG18_CLIENT'];

export const missing =
  dir === undefined || !existsSync(path.join(dir, 'bin/pg_dump'))
    ? 'no pg_dump 18: run test/support/fetch-pg18-client.sh DIR and set STEEP_PG18_CLIENT=DIR'
    : undefined;

/** Runs a tool; fails on a bad exit or on anything said on stderr. */
export function run(tool: 'psql' | 'pg_dump' | 'pg_restore', args: string[], input?: string): string {
  if (dir === undefined) throw new Error(missing);
  const done = spawnSync(path.join(dir, 'bin', tool), args, {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { PATH: process.env['PATH'] ?? '' },
  });
  if (done.error) throw done.error;
  if (done.status !== 0 || done.stderr !== '') {
    throw new Error(`${tool} ${args.join(' ')}: exit ${done.status}: ${done.stderr}`);
  }
  return done.stdout;
}
