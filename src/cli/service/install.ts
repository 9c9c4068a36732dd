import type { LoadedConfig } from '../../config/load.ts';
import { SteepError } from '../../lib/errors.ts';
import { type ServiceManager, type ServiceOptions, type Step, thisPlatform } from '../../platform/index.ts';
import { type CheckResult, printResult, runChecks } from '../checks.ts';
import { defineCommand } from '../command.ts';
import { fileChecks } from '../file-checks.ts';
import { configArg, EXIT, jsonArg, printJson, printText } from '../output.ts';
import { connectionCheck } from '../postgresql-checks.ts';
import { checkAs } from './check-as.ts';
import { nameOf, withRights } from './manager.ts';
import { loadFor, serviceOptions } from './options.ts';

/** Checks whose failure may have mended itself by the time of the start: worth saying, no reason to refuse. */
const ONLY_WARNINGS = new Set(['postgresql', 'ports', 'disk']);

export const command = defineCommand({
  args: {
    config: configArg,
    user: { type: 'boolean', description: 'A service of this user, without rights of root' },
    'run-as': {
      type: 'string',
      description: 'The user that the machine’s service runs as (default: steep-repl, which is made)',
      valueHint: 'USER',
    },
    'dry-run': { type: 'boolean', description: 'Print what would be written and run, and do nothing' },
    json: jsonArg,
  },
  /** JSON: `manager`, `scope`, `dry_run`, `steps[]` each `{step, content, changed}`, `warnings[]` and `advice[]`. */
  async run(args) {
    const platform = thisPlatform();
    const scope = args.user ? 'user' : 'system';
    const runAs = args['run-as'];
    if (scope === 'user' && runAs !== undefined)
      throw new SteepError('INVALID_REQUEST', '--run-as is for the service of the machine, not with --user');
    const manager = platform.serviceManager(scope, process.env);
    if (scope === 'system' && !args['dry-run'] && !platform.currentUser().privileged)
      throw new SteepError('PERMISSION_DENIED', 'this user may not install a service of the machine', {
        hint: `${manager.withRights('steep-repl install')};  or for this user only:  steep-repl install --user`,
      });
    const loaded = loadFor(scope, args.config, platform);
    const options = serviceOptions(loaded, runAs);
    const { before, after } = manager.installation(options);
    if (args['dry-run']) return await show(manager, [...before, ...after], args.json === true);

    const report = new Report(args.json === true);
    return await withRights(manager, `install${args.user ? ' --user' : ''}`, async () => {
      for (const step of before) await report.take(step);
      refuseFailed(await checked(manager, loaded, options), report);
      for (const step of after) await report.take(step);
      const { activity } = await manager.state();
      const running = activity === 'active';
      const next = `next:  ${manager.withRights(`steep-repl ${running ? 'restart' : 'start'}`)}`;
      const advice = [...manager.advice(), ...(running && !report.changed ? [] : [next])];
      report.end(manager, advice);
      return EXIT.ok;
    });
  },
});

async function checked(
  manager: ServiceManager,
  loaded: LoadedConfig,
  options: ServiceOptions,
): Promise<CheckResult[]> {
  const seen = await checkAs(manager, options.runAs, options.config);
  if (seen) return seen;
  return await runChecks([...fileChecks, connectionCheck], {
    loaded,
    platform: thisPlatform(),
    env: process.env,
  });
}

function refuseFailed(results: CheckResult[], report: Report): void {
  const bad = results.filter(({ status }) => status === 'fail' || status === 'warn');
  const fatal = bad.find(({ name, status }) => status === 'fail' && !ONLY_WARNINGS.has(name));
  if (fatal) {
    for (const result of bad) if (result !== fatal) report.warn(result);
    const { name, message, hint } = fatal;
    const options = hint === null ? {} : { hint };
    throw new SteepError('CONFIG_INVALID', `not installed: ${name}: ${message}`, options);
  }
  for (const result of bad) report.warn({ ...result, status: 'warn' });
}

/** Does steps and says so; with --json all at the end. */
class Report {
  private readonly json: boolean;
  private readonly steps: Record<string, unknown>[] = [];
  private readonly warnings: CheckResult[] = [];

  constructor(json: boolean) {
    this.json = json;
  }

  get changed(): boolean {
    return this.steps.some((step) => step['changed'] === true);
  }

  async take(step: Step): Promise<void> {
    const changed = !(await step.isDone());
    if (changed) await step.run();
    this.steps.push({ ...jsonOf(step), changed });
    if (!this.json && changed) printText(step.title);
  }

  warn(result: CheckResult): void {
    this.warnings.push(result);
    if (!this.json) printResult(result);
  }

  end(manager: ServiceManager, advice: string[]): void {
    const { name, scope } = manager;
    if (this.json)
      return printJson({
        manager: name,
        scope,
        dry_run: false,
        steps: this.steps,
        warnings: this.warnings,
        advice,
      });
    printText(`${nameOf(manager)} is ${this.changed ? '' : 'already '}installed`);
    for (const text of advice) printText(text);
  }
}

async function show(manager: ServiceManager, steps: Step[], json: boolean): Promise<number> {
  const shown: [Step, boolean][] = [];
  for (const step of steps) shown.push([step, await step.isDone()]);
  if (json) {
    printJson({
      manager: manager.name,
      scope: manager.scope,
      dry_run: true,
      steps: shown.map(([step, done]) => ({ ...jsonOf(step), changed: !done })),
      warnings: [],
      advice: [],
    });
    return EXIT.ok;
  }
  for (const [{ title, content }, done] of shown) {
    printText(`${title}${done ? '   # is so already' : ''}`);
    if (content !== undefined) printText(content.replaceAll(/^(?=.)/gm, '    '));
  }
  return EXIT.ok;
}

function jsonOf({ title, content }: Step): Record<string, unknown> {
  return { step: title, content: content ?? null };
}
