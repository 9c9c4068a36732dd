/** Waits until the faults are forgotten: everybody follows one coordinator, is connected and sees the others healthy. */
import { request } from './ipc.ts';
import { RECOVERY_S } from './limits.ts';
import type { SoakNode, World } from './world.ts';

export interface Settled {
  /** Seconds until all followed one coordinator. */
  coordinator?: number;
  /** Seconds until all was well. */
  well?: number;
  who?: { node_id: string; term: number };
  /** What was missing last. */
  missing: string;
}

export async function settled(world: World): Promise<Settled> {
  const began = performance.now();
  const seconds = (): number => (performance.now() - began) / 1000;
  const outcome: Settled = { missing: '' };
  while (seconds() < RECOVERY_S) {
    const seen = await Promise.all(world.nodes.map((node) => look(node)));
    const [first] = seen;
    const agree =
      first?.coordinator !== undefined && seen.every((one) => one?.coordinator === first.coordinator);
    if (agree) {
      outcome.coordinator ??= seconds();
      outcome.who = { node_id: first.node_id, term: first.term };
    }
    const missing = world.nodes.flatMap((node, index) => ill(world, node, seen[index]));
    if (agree && missing.length === 0) return { ...outcome, well: seconds(), missing: '' };
    outcome.missing = [...(agree ? [] : ['they follow no one coordinator']), ...missing].join('; ');
    await Bun.sleep(100);
  }
  return outcome;
}

interface Look {
  coordinator: string | undefined;
  node_id: string;
  term: number;
  connected: boolean;
  nodes: Map<string, string>;
}

async function look({ node }: SoakNode): Promise<Look | undefined> {
  const ask = (method: string): ReturnType<typeof request> => request(node.home.socket, method);
  const [coordinator, status, nodes] = await Promise.all(
    ['coordinator.get', 'status.get', 'nodes.list'].map(ask),
  );
  if (!coordinator?.result || !status?.result || !nodes?.result) return undefined;
  const { node_id, term } = coordinator.result as { node_id: string | null; term: number };
  const rows = nodes.result.nodes as { node_id: string; status: string }[];
  return {
    coordinator: node_id === null ? undefined : `${node_id} ${term}`,
    node_id: node_id ?? '',
    term,
    connected: status.result.postgresql.connected as boolean,
    nodes: new Map(rows.map((row) => [row.node_id, row.status])),
  };
}

function ill(world: World, { id }: SoakNode, seen: Look | undefined): string[] {
  if (!seen) return [`${id} does not answer`];
  const wrong = world.nodes.flatMap((other) => {
    const status = seen.nodes.get(other.id);
    const wanted = other.id === world.offline ? 'offline' : 'healthy';
    return status === wanted ? [] : [`${id} sees ${other.id} ${status}`];
  });
  return seen.connected ? wrong : [`${id} has no PostgreSQL`, ...wrong];
}
