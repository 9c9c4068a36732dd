import { defineCommand } from '../command.ts';
import { jsonArg } from '../output.ts';
import { becomeReady } from './ready.ts';
import { installedService, userArg, withRights } from './manager.ts';

export const command = defineCommand({
  args: { user: userArg, json: jsonArg },
  /** As `stop` and `start`; starts what did not run. */
  async run(args) {
    const { manager } = await installedService(args.user);
    return await withRights(manager, 'restart', () =>
      becomeReady(manager, () => manager.restart(), args.json === true),
    );
  },
});
