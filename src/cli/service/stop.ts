import { defineCommand } from '../command.ts';
import { EXIT, jsonArg, printText } from '../output.ts';
import { installedService, nameOf, userArg, withRights } from './manager.ts';
import { printState } from './ready.ts';

export const command = defineCommand({
  args: { user: userArg, json: jsonArg },
  /** Waits for the end of the daemon. What does not run is left as it is: exit 0. */
  async run(args) {
    const { manager, state } = await installedService(args.user);
    const stopped = state.activity === 'inactive';
    if (!stopped) await withRights(manager, 'stop', () => manager.stop());
    if (args.json) printState(manager, await manager.state());
    else printText(`${nameOf(manager)} ${stopped ? 'did not run' : 'is stopped'}`);
    return EXIT.ok;
  },
});
