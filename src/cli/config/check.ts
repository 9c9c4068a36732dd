import { ConfigError, type LoadedConfig, loadConfig } from '../../config/load.ts';
import type { Problem } from '../../config/problems.ts';
import { messageOf } from '../../lib/errors.ts';
import { type Platform, thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { configArg, EXIT, jsonArg, printJson, printText } from '../output.ts';
import { type Check, type CheckResult, checks, type Finding, type Subject } from './checks.ts';

export const command = defineCommand({
  args: { config: configArg, json: jsonArg },
  /**
   * Exit 0 also with warnings, 1 if a check fails, 2 if the configuration is invalid.
   * JSON: `valid`, `file` (null: not found or invalid), `problems[]` each `{file, line, column, variable, key,
   * message, hint}`, `checks[]` each `{name, status, message, hint}`.
   */
  async run(args) {
    const platform = thisPlatform();
    let loaded: LoadedConfig;
    try {
      loaded = loadConfig({ path: args.config, env: process.env, platform });
    } catch (error) {
      if (!args.json || !(error instanceof ConfigError)) throw error;
      printJson({ valid: false, file: null, problems: error.problems.map(asJson), checks: [] });
      return EXIT.usage;
    }
    const results = await runChecks(loaded, platform);
    if (args.json) printJson({ valid: true, file: loaded.file, problems: [], checks: results });
    else for (const result of results) print(result);
    return results.some(({ status }) => status === 'fail') ? EXIT.failed : EXIT.ok;
  },
});

function asJson({ file, line, column, variable, key, message, hint }: Problem): Record<string, unknown> {
  const place = {
    file: file ?? null,
    line: line ?? null,
    column: column ?? null,
    variable: variable ?? null,
  };
  return { ...place, key: key ?? null, message, hint: hint ?? null };
}

async function runChecks(loaded: LoadedConfig, platform: Platform): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    const { name } = check;
    const found = await attempt(check, { loaded, platform, env: process.env });
    results.push(
      ...found.map(({ status, message, hint }) => ({ name, status, message, hint: hint ?? null })),
    );
  }
  return results;
}

async function attempt({ run }: Check, subject: Subject): Promise<Finding[]> {
  try {
    return await run(subject);
  } catch (error) {
    // What a check did not foresee, such as a folder on the way that may not be entered, is a finding too.
    return [{ status: 'fail', message: messageOf(error) }];
  }
}

function print({ name, status, message, hint }: CheckResult): void {
  printText(`${status.padEnd(4)}  ${name.padEnd(16)}  ${message}`);
  if (hint !== null) printText(`${' '.repeat(24)}hint: ${hint}`);
}
