/** Clients that only read: IPC, HTTP, and subscribers of events. */
import net from 'node:net';
import path from 'node:path';
import { Random } from '../simulation/random.ts';
import { request } from './ipc.ts';
import { LIVE_LIMIT_MS } from './limits.ts';
import type { Probed } from './probe.ts';
import type { Life, SoakNode, World } from './world.ts';

const METHODS = ['status.get', 'health.check', 'nodes.list', 'coordinator.get', 'audit.query'];
/** What a reader may be told while a PostgreSQL is away. */
const EXPECTED = new Set(['SILENT', 'NOT_CONNECTED', 'TIMEOUT']);

/** One connection that was told events, until it ended. */
export interface Session {
  from: number;
  to: number;
  /** The id of each entry, and when it happened. */
  entries: Map<number, number>;
  doubles: number;
}

export class Readers {
  readonly sessions = new Map<SoakNode, Session[]>();
  readonly counts = { ipc: 0, http: 0, events: 0 };
  private readonly world: World;
  private readonly probes: Bun.Subprocess[] = [];
  private readonly stopping = Promise.withResolvers<void>();
  private ended = false;
  private readonly running: Promise<unknown>;

  constructor(world: World, seed: number) {
    this.world = world;
    this.running = Promise.all(
      world.nodes.flatMap((node, index) => {
        this.sessions.set(node, []);
        return [this.ask(node, new Random(seed + index)), this.subscribe(node), this.probe(node)];
      }),
    );
  }

  async stop(): Promise<void> {
    this.ended = true;
    this.stopping.resolve();
    for (const probe of this.probes) probe.kill();
    await this.running;
  }

  private async ask(node: SoakNode, random: Random): Promise<void> {
    while (!this.ended) {
      const method = random.of(METHODS);
      const { error } = await request(node.node.home.socket, method, {}, 40_000);
      this.counts.ipc += 1;
      if (error && !EXPECTED.has(error.code))
        this.world.found('answers', `${method} of ${node.id}: ${error.code} ${error.message}`);
      await Bun.sleep(random.between(50, 500));
    }
  }

  private async subscribe(node: SoakNode): Promise<void> {
    while (!this.ended) {
      const session: Session = { from: 0, to: 0, entries: new Map(), doubles: 0 };
      const socket = net.connect(node.node.home.socket);
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      let rest = '';
      socket.setEncoding('utf8');
      socket.on('error', () => {}); // its close tells
      socket.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.take(session, line);
      });
      socket.write(`${JSON.stringify({ id: '1', method: 'events.subscribe' })}\n`);
      await Promise.race([closed, this.stopping.promise]);
      socket.destroy();
      session.to = Date.now();
      if (session.from > 0) this.sessions.get(node)?.push(session);
      await Bun.sleep(200);
    }
  }

  private take(session: Session, line: string): void {
    const { event } = JSON.parse(line) as { event?: { id: string; occurred_at: string } };
    if (!event) {
      session.from = Date.now();
      return;
    }
    this.counts.events += 1;
    const id = Number(event.id);
    if (session.entries.has(id)) session.doubles += 1;
    session.entries.set(id, Date.parse(event.occurred_at));
  }

  private async probe(node: SoakNode): Promise<void> {
    const child = Bun.spawn(
      [...node.node.host.namespace.prefix, process.execPath, path.join(import.meta.dir, 'probe.ts')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.probes.push(child);
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.judge(node, JSON.parse(line) as Probed);
    }
  }

  private judge(node: SoakNode, probed: Probed): void {
    this.counts.http += 1;
    const { route, from, to, status } = probed;
    if (status >= 500 && status !== 503)
      this.world.found('answers', `${route} of ${node.id} answered ${status}`);
    if (route !== '/live' || (status === 200 && to - from < LIVE_LIMIT_MS)) return;
    if (node.lives.some((life) => served(life, from, to)))
      this.world.found('live', `${node.id}: ${JSON.stringify(probed)}`);
  }
}

/** Whether this life had its doors open, and ran, from then to then. */
function served({ daemon, to: end, stood }: Life, from: number, to: number): boolean {
  const ready = daemon.lines.find(({ msg }) => msg === 'ready');
  if (!ready || Date.parse(ready.time) > from || (end !== undefined && end <= to)) return false;
  return stood.every((one) => one.from > to || (one.to !== undefined && one.to < from));
}
