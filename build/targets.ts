/** What is built: a line for each executable. */
import { existsSync } from 'node:fs';

export interface Target {
  /** Name of the executable in dist/. */
  file: string;
  /** Bun's name of the target. */
  bun: Bun.Build.CompileTarget;
  /** npm's package with Bun for it, in the version that package-lock.json pins. */
  runtime: string;
}

export const targets = {
  'linux-x64': target('steep-repl-linux-x64', 'bun-linux-x64', '@oven/bun-linux-x64'),
  'linux-arm64': target('steep-repl-linux-arm64', 'bun-linux-arm64', '@oven/bun-linux-aarch64'),
  'linux-x64-musl': target('steep-repl-linux-x64-musl', 'bun-linux-x64-musl', '@oven/bun-linux-x64-musl'),
  'linux-arm64-musl': target(
    'steep-repl-linux-arm64-musl',
    'bun-linux-arm64-musl',
    '@oven/bun-linux-aarch64-musl',
  ),
  'darwin-x64': target('steep-repl-darwin-x64', 'bun-darwin-x64', '@oven/bun-darwin-x64'),
  'darwin-arm64': target('steep-repl-darwin-arm64', 'bun-darwin-arm64', '@oven/bun-darwin-aarch64'),
  'windows-x64': target('steep-repl-windows-x64.exe', 'bun-windows-x64', '@oven/bun-windows-x64'),
  'windows-arm64': target('steep-repl-windows-arm64.exe', 'bun-windows-arm64', '@oven/bun-windows-aarch64'),
};

export type TargetName = keyof typeof targets;

export function isTarget(name: string): name is TargetName {
  return Object.hasOwn(targets, name);
}

/** The machine that builds. */
export function hostTarget(): string {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  // Bun does not say which libc it was built for; distributions with musl are Alpine and its kin.
  const musl = process.platform === 'linux' && existsSync('/etc/alpine-release') ? '-musl' : '';
  return `${system}-${process.arch}${musl}`;
}

function target(file: string, bun: Bun.Build.CompileTarget, runtime: string): Target {
  return { file, bun, runtime };
}
