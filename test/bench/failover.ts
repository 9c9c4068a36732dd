/** How long until a dead coordinator is seen and replaced; and whether heavy load alone ever looks like a death. */
import { executable, type Benchmark, requireExecutable, spread } from './harness.ts';

const TRIALS = Number(process.env['STEEP_TRIALS'] ?? 100);
const QUIET_MINUTES = Number(process.env['STEEP_QUIET_MINUTES'] ?? 60);

/** Every kind of death in turn, in a cluster of three in network namespaces. Needs root, nft and ip. */
export const failover: Benchmark = async () => {
  const { deaths, strike } = await withExecutable(() => import('../cluster/deaths.ts'));
  const { TestCluster } = await import('../cluster/cluster.ts');
  await using cluster = await TestCluster.start({ nodes: 3 });
  const seen: number[] = [];
  const replaced: number[] = [];
  const kinds = Object.entries(deaths);
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const [name, death] = kinds[trial % kinds.length]!;
    const times = await strike(cluster, death);
    seen.push(times.seen / 1000);
    replaced.push(times.replaced / 1000);
    console.error(
      `${trial + 1}/${TRIALS} ${name}: seen ${times.seen.toFixed(0)} ms, replaced ${times.replaced.toFixed(0)} ms`,
    );
  }
  const wrong = `${cluster.wrong.length} wrong of ${TRIALS}`;
  return [
    {
      what: 'dead coordinator shown as unreachable by all others',
      reach: '≤ 5 s',
      measured: spread(seen, 's', 2),
      reached: Math.max(...seen) <= 5,
      samples: seen,
    },
    {
      what: 'new coordinator, agreed on by all others',
      reach: '≤ 6 s, none wrong',
      measured: `${spread(replaced, 's', 2)}; ${wrong}`,
      reached: Math.max(...replaced) <= 6 && cluster.wrong.length === 0,
      samples: replaced,
    },
  ];
};

/** Three daemons beside as many busy loops as there are cores, and as many again. */
export const quiet: Benchmark = async () => {
  const { quietUnderLoad } = await withExecutable(() => import('../cluster/quiet.ts'));
  const changes = await quietUnderLoad(QUIET_MINUTES * 60_000);
  return [
    {
      what: `changes of a status or of the coordinator in ${QUIET_MINUTES} min of load on all cores`,
      reach: 'none in an hour',
      measured: changes.length === 0 ? 'none' : changes.join('; '),
      reached: changes.length === 0,
      samples: [changes.length],
    },
  ];
};

/** The tests' daemons are the compiled ones. */
async function withExecutable<T>(load: () => Promise<T>): Promise<T> {
  requireExecutable();
  process.env['STEEP_REPL_BINARY'] = executable;
  return await load();
}
