import { ConfigError, type LoadedConfig, loadConfig } from '../config/load.ts';
import { SteepError } from '../lib/errors.ts';
import { thisPlatform } from '../platform/index.ts';
import { anyFailed, type Check, type CheckResult, type Finding, printResult, runChecks } from './checks.ts';
import { defineCommand } from './command.ts';
import { connectToDaemon, daemonArgs, type DaemonAddress } from './daemon.ts';
import { fileChecks } from './file-checks.ts';
import { EXIT, jsonArg, printJson, printText } from './output.ts';
import { connectionCheck, serverCheck } from './postgresql-checks.ts';
import { againAsService } from './service/check-as.ts';
import { serviceCheck } from './service/seen.ts';

export const command = defineCommand({
  args: { ...daemonArgs, json: jsonArg },
  /** JSON: `checks[]` each `{name, status, message, hint}`. Exit 0 unless a check fails (1); 2 for a broken file. */
  async run(args) {
    const platform = thisPlatform();
    const loaded = load(args.config);
    if (!(loaded instanceof ConfigError)) {
      const options = [...(args.json ? ['--json'] : []), ...(args.socket ? ['--socket', args.socket] : [])];
      const again = await againAsService(loaded.file, platform, ['doctor', ...options]);
      if (again !== undefined) return again;
    }
    const results: CheckResult[] =
      loaded instanceof ConfigError
        ? loaded.problems.map(({ message, hint }) => ({
            name: 'config',
            status: 'fail',
            message,
            hint: hint ?? null,
          }))
        : await runChecks([...fileChecks, connectionCheck, serverCheck, serviceCheck, daemonCheck(args)], {
            loaded,
            platform,
            env: process.env,
          });
    if (args.json) printJson({ checks: results });
    else print(results);
    if (loaded instanceof ConfigError) return EXIT.usage;
    return anyFailed(results) ? EXIT.failed : EXIT.ok;
  },
});

function load(path: string | undefined): LoadedConfig | ConfigError {
  try {
    return loadConfig({ path, env: process.env, platform: thisPlatform() });
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

/** Whether the daemon answers, what it complains about, and the nodes that it sees. */
function daemonCheck(where: DaemonAddress): Check {
  return {
    name: 'daemon',
    async run() {
      try {
        using client = await connectToDaemon(where);
        const status = await client.call('status.get', {});
        const findings: Finding[] = [
          { status: 'ok', message: `${status.state}, pid ${status.pid}, version ${status.version}` },
        ];
        const severities = { note: 'note', warning: 'warn', error: 'fail' } as const;
        for (const { severity, message, hint } of status.issues)
          findings.push({ status: severities[severity], message, ...(hint === null ? {} : { hint }) });
        const { nodes } = await client.call('nodes.list', {});
        // What is wrong with the others is among the issues.
        for (const { node_id, status: state } of nodes)
          if (state === 'healthy') findings.push({ status: 'ok', message: `node ${node_id} is healthy` });
        return findings;
      } catch (thrown) {
        const error = SteepError.from(thrown);
        return [
          {
            status: 'warn',
            message: error.message,
            ...(error.hint === undefined ? {} : { hint: error.hint }),
          },
        ];
      }
    },
  };
}

function print(results: CheckResult[]): void {
  for (const result of results) printResult(result);
  const count = (status: string): number => results.filter((result) => result.status === status).length;
  printText(`\n${count('fail')} fail, ${count('warn')} warn, ${count('note')} note, ${count('ok')} ok`);
}
