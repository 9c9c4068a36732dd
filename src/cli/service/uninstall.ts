import { SteepError } from '../../lib/errors.ts';
import { thisPlatform } from '../../platform/index.ts';
import { confirm, yesArg } from '../confirm.ts';
import { defineCommand } from '../command.ts';
import { jsonArg, printJson, printText } from '../output.ts';
import { installedService, nameOf, userArg, withRights } from './manager.ts';

export const command = defineCommand({
  args: { user: userArg, yes: yesArg, json: jsonArg },
  /** Configuration and state stay: whoever installs again is the same node. JSON: `steps[]` that were done, `kept[]`. */
  async run(args) {
    const { manager, state } = await installedService(args.user);
    if (manager.scope === 'system' && !thisPlatform().currentUser().privileged)
      throw new SteepError('PERMISSION_DENIED', `this user may not remove ${nameOf(manager)}`, {
        hint: manager.withRights('steep-repl uninstall'),
      });
    const kept = manager.kept();
    const stays = kept.length === 0 ? '' : ` ${kept.join(' and ')} stay${kept.length === 1 ? 's' : ''}.`;
    const running = state.pid === undefined ? '' : `stops the daemon, pid ${state.pid}, and `;
    await confirm(`This ${running}removes ${nameOf(manager)}.${stays}`, args.yes);
    const done: string[] = [];
    await withRights(manager, 'uninstall', async () => {
      if (state.activity !== 'inactive') await manager.stop();
      for (const step of manager.removal()) {
        if (await step.isDone()) continue;
        await step.run();
        done.push(step.title);
        if (!args.json) printText(step.title);
      }
    });
    if (args.json) return printJson({ steps: done, kept });
    printText(`${nameOf(manager)} is removed`);
    for (const folder of kept) printText(`kept: ${folder}`);
    return undefined;
  },
});
