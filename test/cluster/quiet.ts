/** A cluster of three beside more busy loops than there are cores: nothing may change. */
import { availableParallelism } from 'node:os';
import { TestCluster } from './cluster.ts';

/** What changed within so many milliseconds of load, in the words of the logs. */
export async function quietUnderLoad(duration: number): Promise<string[]> {
  await using cluster = await TestCluster.start({ nodes: 3 });
  await Bun.sleep(2000); // until what the start brought has been logged too
  const before = new Map(cluster.nodes.map((node) => [node.id, node.daemon.lines.length]));
  const loops = Array.from({ length: 2 * availableParallelism() }, () =>
    Bun.spawn(['setpriv', '--pdeathsig', 'KILL', '--', 'sh', '-c', 'while :; do :; done'], {
      stdio: ['ignore', 'ignore', 'ignore'],
    }),
  );
  try {
    await Bun.sleep(duration);
  } finally {
    for (const loop of loops) loop.kill('SIGKILL');
    await Promise.all(loops.map((loop) => loop.exited));
  }
  const told = cluster.nodes.flatMap((node) =>
    node.daemon.lines
      .slice(before.get(node.id))
      .filter(
        ({ component, msg }) =>
          component === 'election' || (component === 'cluster' && msg.startsWith('peer ')),
      )
      .map(({ msg, peer }) => `${node.id}: ${msg}${typeof peer === 'string' ? ` ${peer}` : ''}`),
  );
  return [...told, ...cluster.wrong];
}
