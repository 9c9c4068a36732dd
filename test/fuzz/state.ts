/**
 * `cluster.json` in state_dir: what is damaged is refused, by name and with a remedy; what is taken is exactly what was
 * written. A vote or a promise that a damaged file invents would make two coordinators.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ClusterState } from '../../src/cluster/state.ts';
import { clusterStateFile } from '../../src/daemon/cluster-state.ts';
import { SteepError } from '../../src/lib/errors.ts';
import type { Random } from '../simulation/random.ts';
import { DaemonHome } from '../support/daemon.ts';
import { damaged, reworded } from './mutate.ts';
import { fail, type Target } from './target.ts';

const WORDS = [
  ...'null true -1 0 1e308 9007199254740993 "" "node-b" "yes" "never" "soon" [] {} "removed", 7, }, ],'.split(
    ' ',
  ),
  '\0',
];
/** One start of a whole daemon among so many. */
const DAEMON_EVERY = 400;

const state: ClusterState = {
  instance_id: '6f0c8e4c-53ab-4b5e-9c0e-7d8d4a3c7a01',
  serial: 41,
  cluster_id: '0d2b7e52-6d0f-4f39-8f4e-0a5c38a0c9aa',
  term: 12,
  vote: { node_id: 'node-a', instance_id: '6f0c8e4c-53ab-4b5e-9c0e-7d8d4a3c7a01' },
  list: {
    term: 11,
    number: 4,
    nodes: ['node-a', 'node-b', 'node-c'].map((node_id) => ({
      node_id,
      instance_id: `i-${node_id}`,
      role: 'node',
      state: 'member',
      vote: 'yes',
    })),
  },
  longest_promise: 3000,
  members: [
    {
      node_id: 'node-b',
      node_name: 'B',
      host: '10.0.0.2',
      port: 5432,
      priority: 50,
      grpc_host: '10.0.0.2',
      grpc_port: 5433,
      role: 'node',
      instance_id: 'i-node-b',
      revision: 3,
    },
  ],
};

export async function openState(): Promise<Target> {
  const folder = mkdtempSync(path.join(tmpdir(), 'state-'));
  const file = path.join(folder, 'cluster.json');
  clusterStateFile(folder).write(state);
  const good = readFileSync(file);
  const written = clusterStateFile(folder).read();
  let count = 0;
  return {
    generate: (random) => ({ 'cluster.json': variant(random, good) }),
    async check({ 'cluster.json': bytes }) {
      writeFileSync(file, bytes!);
      const taken = read(folder, file);
      if (taken !== undefined && !isDeepStrictEqual(taken, written))
        fail(`took what was never written: ${JSON.stringify(taken)}`);
      if ((count += 1) % DAEMON_EVERY === 0) await startOn(bytes!, taken !== undefined);
    },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function variant(random: Random, good: Buffer): Buffer {
  const bytes = random.chance(0.5) ? Buffer.from(reworded(random, good.toString(), WORDS)) : good;
  return random.chance(0.6) ? damaged(random, bytes, [good]) : bytes;
}

function read(folder: string, file: string): ClusterState | undefined {
  try {
    return clusterStateFile(folder).read();
  } catch (error) {
    if (!(error instanceof SteepError) || error.code !== 'FAILED') throw error;
    if (!error.message.includes(file) || error.hint === undefined)
      fail(`it names no file or no remedy: ${error.message}`);
    return undefined;
  }
}

/** The daemon itself, a witness: it ends with code 1 and the name of the file, or runs. */
async function startOn(bytes: Buffer, good: boolean): Promise<void> {
  await using home = new DaemonHome(undefined, { nodeId: 'node-a', config: { role: 'witness' } });
  mkdirSync(home.stateDir, { mode: 0o700 });
  writeFileSync(path.join(home.stateDir, 'cluster.json'), bytes);
  const daemon = home.start();
  if (good) {
    await daemon.logged('ready');
    return;
  }
  const code = await daemon.exited();
  if (code !== 1 || !daemon.stderr.includes('cluster.json'))
    fail(`exit ${code} on a damaged state: ${daemon.stderr}`);
  if (daemon.count('ready') > 0) fail(`it was ready before it refused: ${daemon.stderr}`);
}
