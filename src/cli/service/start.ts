import { defineCommand } from '../command.ts';
import { EXIT, jsonArg, printText } from '../output.ts';
import { becomeReady, printState } from './ready.ts';
import { installedService, nameOf, userArg, withRights } from './manager.ts';

export const command = defineCommand({
  args: { user: userArg, json: jsonArg },
  /** Waits until the daemon is ready; else shows the end of its log, exit 1. JSON as that of `status`’ `service`. */
  async run(args) {
    const { manager, state } = await installedService(args.user);
    if (state.activity === 'active') {
      if (!args.json) printText(`${nameOf(manager)} runs already, pid ${state.pid}`);
      else printState(manager, state);
      return EXIT.ok;
    }
    return await withRights(manager, 'start', () =>
      becomeReady(manager, () => manager.start(), args.json === true),
    );
  },
});
