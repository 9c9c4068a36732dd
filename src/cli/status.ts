import type { IpcClient } from '../ipc/client.ts';
import { SteepError } from '../lib/errors.ts';
import type { ShownNode } from '../operations/nodes.ts';
import type { Status } from '../operations/status.ts';
import { defineCommand } from './command.ts';
import { connectToDaemon, type DaemonAddress, daemonArgs } from './daemon.ts';
import { colour } from './format.ts';
import { cut, EXIT, exitCodeOf, jsonArg, printError, printJson, printText } from './output.ts';
import type { Service } from './service/manager.ts';
import { explained, runBy, seenJson, serviceSeen } from './service/seen.ts';
import { nodesTable, statusScreen } from './status-screen.ts';

const REDRAW_MS = 1000;
/** Home, then clear to the end: nothing flickers. */
const REDRAW = '\u001B[H\u001B[J';
const CLEAR = '\u001B[2J';

export const command = defineCommand({
  args: {
    ...daemonArgs,
    watch: { type: 'boolean', alias: 'w', description: 'Show it again every second, until Ctrl-C' },
    json: jsonArg,
  },
  /**
   * JSON: the result of status.get (docs/ipc.md), or `{"state": "not running", "issues": […]}` when nobody answers (`unknown`: it may run, but tells nothing); and
   * `service` (null: none is installed) with `manager, scope, installed, enabled, activity, pid, since, detail`. With --watch one of them a line.
   */
  async run(args) {
    return args.watch ? await watch(args, args.json === true) : await once(args, args.json === true);
  },
});

interface Seen {
  status: Status;
  nodes: ShownNode[];
  service: Service | undefined;
}

async function look(client: IpcClient): Promise<Seen> {
  const [status, { nodes }, service] = await Promise.all([
    client.call('status.get', {}),
    client.call('nodes.list', {}),
    serviceSeen(),
  ]);
  return { status, nodes, service };
}

/** 0 only when everything that was asked about is well. */
function exitCode({ state, issues }: Status): number {
  return state === 'running' && issues.every(({ severity }) => severity === 'note')
    ? EXIT.ok
    : EXIT.notHealthy;
}

async function once(where: DaemonAddress, json: boolean): Promise<number> {
  try {
    using client = await connectToDaemon(where);
    const { status, nodes, service } = await look(client);
    if (json) printJson(asJson({ status, nodes, service }));
    else printText(statusScreen(status, nodes, runBy(service, status.pid)));
    return exitCode(status);
  } catch (thrown) {
    const service = await serviceSeen();
    const error = explained(SteepError.from(thrown), service);
    if (!json) throw error;
    printJson(errorJson(error, service));
    return exitCodeOf(error);
  }
}

function asJson({ status, service }: Seen): unknown {
  return { ...status, service: seenJson(service) };
}

function errorJson(error: SteepError, service: Service | undefined): unknown {
  const { message, hint } = error;
  const issue = { severity: 'error', message, hint: hint ?? null };
  return { state: stateBehind(error), issues: [issue], service: seenJson(service) };
}

/** Who does not answer, or may not be asked, may well run. */
function stateBehind({ code }: SteepError): 'not running' | 'unknown' {
  return code === 'NOT_RUNNING' ? 'not running' : 'unknown';
}

/** On a terminal in place, elsewhere one after the other. Ends with the exit code of what was seen last. */
async function watch(where: DaemonAddress, json: boolean): Promise<number> {
  const terminal = process.stdout.isTTY && !json;
  let code: number = EXIT.ok;
  process.on('SIGINT', () => process.exit(code));
  if (terminal) process.stdout.write(CLEAR);
  for (;;) {
    let text: string;
    try {
      using client = await connectToDaemon(where);
      const seen = await look(client);
      const { status, nodes, service } = seen;
      text = json
        ? JSON.stringify(asJson(seen))
        : `${statusScreen(status, nodes, runBy(service, status.pid))}\n\n${nodesTable(nodes)}`;
      code = exitCode(status);
    } catch (thrown) {
      const service = await serviceSeen();
      const error = explained(SteepError.from(thrown), service);
      code = exitCodeOf(error);
      if (code === EXIT.usage) {
        printError(error);
        return code;
      }
      text = json
        ? JSON.stringify(errorJson(error, service))
        : `${colour('red', stateBehind(error))}: ${error.message}${error.hint === undefined ? '' : `\n  hint: ${error.hint}`}`;
    }
    printText(terminal ? `${REDRAW}${onOneScreen(text)}` : `${text}${json ? '' : '\n'}`);
    await Bun.sleep(REDRAW_MS);
  }
}

/** What does not fit would scroll, and each drawing would begin somewhere else. */
function onOneScreen(text: string): string {
  const { rows } = process.stdout;
  return text
    .split('\n')
    .slice(0, rows > 1 ? rows - 1 : undefined)
    .map(cut)
    .join('\n');
}
