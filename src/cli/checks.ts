/** What `config check` and `doctor` share: a check looks, changes nothing, and says what it found. */
import type { LoadedConfig } from '../config/load.ts';
import { messageOf } from '../lib/errors.ts';
import type { Env, Platform } from '../platform/index.ts';
import { colour } from './format.ts';
import { folded, printText } from './output.ts';

/** `note`: nothing wrong now, but something to know. */
export type Status = 'ok' | 'note' | 'warn' | 'fail';

export interface Finding {
  status: Status;
  message: string;
  /** The command or sentence that mends it. */
  hint?: string;
}

export interface CheckResult {
  name: string;
  status: Status;
  message: string;
  hint: string | null;
}

export interface Subject {
  loaded: LoadedConfig;
  platform: Platform;
  env: Env;
}

export interface Check {
  name: string;
  /** No finding where it does not apply. */
  run: (subject: Subject) => Promise<Finding[]> | Finding[];
}

/** One after the other, in the order given. Never throws: what a check did not foresee is a finding too. */
export async function runChecks(checks: readonly Check[], subject: Subject): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const { name, run } of checks) {
    const found = await attempt(run, subject);
    results.push(
      ...found.map(({ status, message, hint }) => ({ name, status, message, hint: hint ?? null })),
    );
  }
  return results;
}

async function attempt(run: Check['run'], subject: Subject): Promise<Finding[]> {
  try {
    return await run(subject);
  } catch (error) {
    return [{ status: 'fail', message: messageOf(error) }];
  }
}

export function anyFailed(results: CheckResult[]): boolean {
  return results.some(({ status }) => status === 'fail');
}

const COLOURS = { ok: 'green', note: 'dim', warn: 'yellow', fail: 'red' } as const;

const INDENT = 24;

export function printResult({ name, status, message, hint }: CheckResult): void {
  printText(`${colour(COLOURS[status], status.padEnd(4))}  ${name.padEnd(16)}  ${folded(message, INDENT)}`);
  if (hint !== null) printText(`${' '.repeat(INDENT)}hint: ${hint}`);
}
