// Installs what package-lock.json pins, once; needs nothing but Node and npm.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const lock = join(root, 'package-lock.json');
const stamp = join(root, 'node_modules/.steep-lock.json');

function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32' && command === 'npm',
  });
  if (error ?? status !== 0) {
    console.error(`setup: ${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
    process.exit(1);
  }
}

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== readFileSync(lock, 'utf8')) {
  console.error('setup: installing the pinned packages (once) …');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  // Some npm versions run no install scripts; bun's own only puts its executable in place.
  const bun = join(root, 'node_modules/bun/bin/bun.exe');
  if (spawnSync(bun, ['--version']).status !== 0) run('node', [join(root, 'node_modules/bun/install.js')]);
  copyFileSync(lock, stamp);
}
