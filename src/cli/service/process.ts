import { SteepError } from '../../lib/errors.ts';
import { type ServiceHost, thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { Orders } from '../orders.ts';
import { configArg, exitCodeOf } from '../output.ts';
import { runDaemon } from '../run.ts';

/** What the service control manager of Windows starts. Nobody types it, so no help names it. */
export const command = defineCommand({
  args: { config: configArg },
  async run({ config: path }) {
    const { connectToServiceManager: connect } = thisPlatform();
    if (connect === undefined)
      throw new SteepError('INVALID_REQUEST', 'only Windows starts its services this way', {
        hint: 'steep-repl run',
      });
    const orders = new Orders();
    const host = await connect((order) => orders.give(order));
    return process.exit(host.ended(await runLogged(path, orders, host)));
  },
});

/** A service has no terminal: why the daemon did not start is logged too. */
async function runLogged(path: string | undefined, orders: Orders, host: ServiceHost): Promise<number> {
  try {
    return await runDaemon({ path, debug: false, orders, host });
  } catch (thrown) {
    const error = SteepError.from(thrown);
    host.log?.(`daemon: ${error.message}${error.hint === undefined ? '' : `\nhint: ${error.hint}`}`, 'error');
    return exitCodeOf(error);
  }
}
