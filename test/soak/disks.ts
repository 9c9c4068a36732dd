/** Small disks: in memory, mounted in the soak's own namespace, full when they are made as small as what is on them. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, statfsSync } from 'node:fs';

export function makeDisk(folder: string, size: number): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const error = mount('-t', 'tmpfs', '-o', `size=${size},mode=700`, 'soak', folder);
  if (error !== '') throw new Error(error);
}

export function fillDisk(folder: string): void {
  // It may grow in between; then what was asked for is too small, and refused.
  let error = '';
  for (let tries = 0; tries < 100; tries += 1) {
    const { blocks, bfree, bsize } = statfsSync(folder);
    error = mount('-o', `remount,size=${(blocks - bfree) * bsize}`, folder);
    if (error === '') return;
  }
  throw new Error(error);
}

export function freeDisk(folder: string, size: number): void {
  const error = mount('-o', `remount,size=${size}`, folder);
  if (error !== '') throw new Error(error);
}

function mount(...args: string[]): string {
  const done = spawnSync('mount', args, { encoding: 'utf8' });
  return done.status === 0 ? '' : `mount ${args.join(' ')}: ${done.stderr}`;
}
