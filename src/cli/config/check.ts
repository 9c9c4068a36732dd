import { ConfigError, type LoadedConfig, loadConfig } from '../../config/load.ts';
import type { Problem } from '../../config/problems.ts';
import { thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { configArg, EXIT, jsonArg, printJson } from '../output.ts';
import { anyFailed, printResult, runChecks } from '../checks.ts';
import { fileChecks } from '../file-checks.ts';
import { connectionCheck } from '../postgresql-checks.ts';
import { againAsService } from '../service/check-as.ts';

export const command = defineCommand({
  args: { config: configArg, json: jsonArg },
  /**
   * With the eyes of the service's user, when root asks about its file. Exit 0 also with warnings, 1 if a check fails, 2 if the configuration is invalid.
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
    const again = await againAsService(loaded.file, platform, [
      'config',
      'check',
      ...(args.json ? ['--json'] : []),
    ]);
    if (again !== undefined) return again;
    const results = await runChecks([...fileChecks, connectionCheck], { loaded, platform, env: process.env });
    if (args.json) printJson({ valid: true, file: loaded.file, problems: [], checks: results });
    else for (const result of results) printResult(result);
    return anyFailed(results) ? EXIT.failed : EXIT.ok;
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
