/** Asks every daemon all the time, and notes what may never be. (Who claims to coordinate: test/cluster/cluster.ts.) */
import { request } from './ipc.ts';
import type { Life, SoakNode, World } from './world.ts';

const EVERY_MS = 200;

export class Watch {
  /** Milliseconds in which nobody said that he coordinates. */
  without = 0;
  private readonly world: World;
  private readonly claims = new Map<string, number>();
  private ended = false;
  private readonly running: Promise<unknown>;

  constructor(world: World) {
    this.world = world;
    this.running = Promise.all([...world.nodes.map((node) => this.look(node)), this.count()]);
  }

  async stop(): Promise<void> {
    this.ended = true;
    await this.running;
  }

  private async look(node: SoakNode): Promise<void> {
    const { world } = this;
    let highest = 0;
    /** The one of whom this daemon has said that it is offline. */
    let knew: string | undefined;
    while (!this.ended) {
      const { life } = node;
      const [coordinator, nodes] = await Promise.all([
        request(node.node.home.socket, 'coordinator.get', {}, 2000),
        request(node.node.home.socket, 'nodes.list', {}, 2000),
      ]);
      this.exited(node, life);
      const view = coordinator.result as { node_id: string | null; term: number | null } | undefined;
      if (view?.node_id === node.id) this.claims.set(node.id, Date.now());
      if (typeof view?.term === 'number') {
        if (view.term < highest) world.found('terms', `${node.id} shows term ${view.term} after ${highest}`);
        highest = Math.max(highest, view.term);
      }
      const { offline } = world;
      if (offline === undefined) knew = undefined;
      else if (nodes.result) {
        const rows = nodes.result.nodes as { node_id: string; status: string }[];
        const status = rows.find(({ node_id }) => node_id === offline)?.status;
        if (status === 'offline') knew = offline;
        else if (knew === offline && world.offline === offline)
          world.found('offline', `${node.id} shows ${offline}, which is offline, as ${status}`);
      }
      for (const { error } of [coordinator, nodes])
        if (error && error.code !== 'SILENT')
          world.found('answers', `${node.id}: ${error.code} ${error.message}`);
      await Bun.sleep(EVERY_MS);
    }
  }

  /** A daemon that nobody told to end. */
  private exited(node: SoakNode, life: Life): void {
    if (life.daemon.running || life.ended || life.to !== undefined) return;
    life.to = Date.now();
    this.world.found('ends', `${node.id} ended by itself: ${life.daemon.stderr.split('\n').at(-2)}`);
  }

  private async count(): Promise<void> {
    let last = Date.now();
    while (!this.ended) {
      await Bun.sleep(EVERY_MS / 2);
      const now = Date.now();
      for (const text of this.world.cluster.wrong.splice(0)) this.world.found('one', text);
      if ([...this.claims.values()].every((at) => now - at > 3 * EVERY_MS)) this.without += now - last;
      last = now;
    }
  }
}
