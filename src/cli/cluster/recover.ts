import { Durable } from '../../cluster/state.ts';
import { isRecovered, recovered } from '../../cluster/recover.ts';
import { loadConfig } from '../../config/load.ts';
import { clusterStateFile } from '../../daemon/cluster-state.ts';
import { lockInstance, prepareStateDir } from '../../daemon/instance.ts';
import { SteepError } from '../../lib/errors.ts';
import { thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { confirmByTyping, yesArg } from '../confirm.ts';
import { configArg, jsonArg, printJson, printText } from '../output.ts';

export const command = defineCommand({
  args: {
    survivors: {
      type: 'string',
      required: true,
      description: 'Ids of all nodes that go on, this one included',
      valueHint: 'ID,…',
    },
    config: configArg,
    yes: yesArg,
    json: jsonArg,
  },
  /** JSON: `cluster_id`, `survivors`. */
  async run(args) {
    const platform = thisPlatform();
    const { config } = loadConfig({ path: args.config, env: process.env, platform });
    const { node_id: self, state_dir: stateDir } = config;
    prepareStateDir(stateDir, platform);
    using _lock = lockStopped(stateDir);
    const file = clusterStateFile(stateDir);
    const state = new Durable(file.read(), file.write);
    const survivors = args.survivors.split(',').map((id) => id.trim());
    if (isRecovered(state.current, survivors)) {
      report(state.current.cluster_id ?? '', self, survivors, args.json === true);
      return;
    }
    const fresh = recovered(state.current, self, survivors);
    const lost = state.current.list.nodes
      .map(({ node_id }) => node_id)
      .filter((id) => !survivors.includes(id));
    const what = [
      `${survivors.join(', ')} become cluster ${fresh.cluster_id}.`,
      `${lost.length === 0 ? 'Nobody' : lost.join(', ')} is refused from now on; what only they had is lost to the cluster.`,
      'Is one of them alive, there will be two clusters: make sure that they are stopped for good.',
    ].join('\n');
    await confirmByTyping(what, self, args.yes);
    state.believe(); // whoever names the survivors vouches for what is left of them
    state.update(fresh);
    report(fresh.cluster_id ?? '', self, survivors, args.json === true);
  },
});

function report(clusterId: string, self: string, survivors: string[], json: boolean): void {
  if (json) {
    printJson({ cluster_id: clusterId, survivors });
    return;
  }
  const others = survivors.filter((id) => id !== self);
  printText(`${self} belongs to cluster ${clusterId}`);
  if (others.length > 0) printText(`now the same on ${others.join(', ')}, then start the daemons`, 'stderr');
}

/** Throws CONFLICT while the daemon runs. */
function lockStopped(stateDir: string): Disposable {
  try {
    return lockInstance(stateDir, thisPlatform());
  } catch (thrown) {
    const error = SteepError.from(thrown);
    if (error.code !== 'CONFLICT') throw error;
    throw new SteepError('CONFLICT', `the daemon runs: ${error.message}`, {
      hint: 'steep-repl stop, then try again',
    });
  }
}
