/** How a coordinator is lost, and how long it takes until that is seen and another one is there. */
import { waitFor } from '../support/wait.ts';
import { type ClusterNode, statuses, type TestCluster } from './cluster.ts';

export const deaths = {
  'kill -9 of the daemon': {
    strike: (node: ClusterNode) => node.daemon.kill(),
    mend: async (node: ClusterNode) => node.start(),
  },
  'the daemon stands still (SIGSTOP)': {
    strike: async (node: ClusterNode) => node.daemon.signal('SIGSTOP'),
    mend: async (node: ClusterNode) => node.daemon.signal('SIGCONT'),
  },
  'its network is cut both ways': {
    strike: async (node: ClusterNode) => node.host.cut('both ways'),
    mend: async (node: ClusterNode) => node.host.mend(),
  },
  'it hears nothing, and is heard': {
    strike: async (node: ClusterNode) => node.host.cut('deaf'),
    mend: async (node: ClusterNode) => node.host.mend(),
  },
  'it is not heard, and hears': {
    strike: async (node: ClusterNode) => node.host.cut('mute'),
    mend: async (node: ClusterNode) => node.host.mend(),
  },
} satisfies Record<string, Death>;

export interface Death {
  strike: (node: ClusterNode) => Promise<unknown>;
  mend: (node: ClusterNode) => Promise<unknown>;
}

export interface Timeline {
  /** Milliseconds until every other node showed the dead one as unreachable. */
  seen: number;
  /** Milliseconds until every other node showed the same other coordinator. */
  replaced: number;
}

/** A table of deaths, in markdown. */
export class Timelines {
  private readonly rows = ['| death of the coordinator | seen | replaced |', '|---|---|---|'];

  add(death: string, { seen, replaced }: Timeline): void {
    this.rows.push(`| ${death} | ${(seen / 1000).toFixed(1)} s | ${(replaced / 1000).toFixed(1)} s |`);
  }

  print(): void {
    console.log(`\n${this.rows.join('\n')}\n`);
  }
}

/** Strikes the coordinator of a settled cluster, waits for its successor, mends, and waits until all is well. */
export async function strike(cluster: TestCluster, death: Death): Promise<Timeline> {
  const victim = await cluster.settled();
  const others = cluster.nodes.filter((node) => node !== victim);
  const began = performance.now();
  await death.strike(victim);
  let seen: number | undefined;
  let replaced: number | undefined;
  await waitFor(async () => {
    if (replaced === undefined) {
      const now = await cluster.agreed(others);
      if (now && now !== victim) replaced = performance.now() - began;
    }
    if (seen === undefined) {
      const all = await Promise.all(others.map((node) => statuses(node)));
      if (all.every((list) => list.get(victim.id) === 'unreachable')) seen = performance.now() - began;
    }
    return seen !== undefined && replaced !== undefined;
  }, `a successor of ${victim.id}`).catch((error: Error) => {
    throw new Error(
      `${error.message}\n${cluster.nodes.map((node) => `${node.id}:\n${node.daemon.stderr}`).join('\n')}`,
    );
  });
  await death.mend(victim);
  await cluster.settled();
  return { seen: seen!, replaced: replaced! };
}
