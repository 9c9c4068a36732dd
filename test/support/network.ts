/**
 * Machines with an address of their own: network namespaces, joined by a bridge in one more. They belong to
 * processes of ours and vanish with them: nothing is left behind, however the tests end. Needs root, ip, nft.
 */
import { spawnSync } from 'node:child_process';

export class Network implements AsyncDisposable {
  private readonly hub = new Namespace();
  private readonly hosts: Host[] = [];

  constructor() {
    this.hub.run('ip', 'link', 'add', 'br0', 'type', 'bridge');
    this.hub.run('ip', 'link', 'set', 'br0', 'up');
  }

  /** One more machine: 10.77.0.1, 10.77.0.2, … */
  host(): Host {
    const host = new Host(this.hub, this.hosts.length + 1);
    this.hosts.push(host);
    return host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.hub, ...this.hosts.map(({ namespace }) => namespace)].map((one) => one.end()));
  }
}

class Namespace {
  private readonly holder = Bun.spawn(
    ['setpriv', '--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', 'sleep', 'infinity'],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );

  constructor() {
    const own = inode('self');
    // It has its namespace when unshare has become sleep.
    for (let tries = 0; inode(String(this.holder.pid)) === own || !this.sleeps(); tries += 1) {
      if (tries > 500) throw new Error('no network namespace: is this root?');
      Bun.sleepSync(10);
    }
  }

  get pid(): number {
    return this.holder.pid;
  }

  /** What goes before a command that is to run in here. */
  get prefix(): string[] {
    return ['nsenter', '-t', String(this.pid), '-n', '--'];
  }

  run(...command: string[]): void {
    const [program = '', ...args] = [...this.prefix, ...command];
    const done = spawnSync(program, args, { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`${command.join(' ')}: ${done.stderr}`);
  }

  async end(): Promise<void> {
    this.holder.kill('SIGKILL');
    await this.holder.exited;
  }

  private sleeps(): boolean {
    return spawnSync('cat', [`/proc/${this.pid}/comm`], { encoding: 'utf8' }).stdout.trim() === 'sleep';
  }
}

function inode(pid: string): string {
  return spawnSync('readlink', [`/proc/${pid === 'self' ? process.pid : pid}/ns/net`], {
    encoding: 'utf8',
  }).stdout.trim();
}

/** How the line of a machine is broken. */
export type Cut =
  | 'both ways'
  /** It hears nothing, and is heard. */
  | 'deaf'
  /** It is not heard, and hears. */
  | 'mute'
  | 'lossy';

export class Host {
  readonly namespace = new Namespace();
  readonly address: string;

  constructor(hub: { pid: number; run: (...command: string[]) => void }, index: number) {
    this.address = `10.77.0.${index}`;
    const port = `v${index}`;
    hub.run(
      'ip',
      'link',
      'add',
      port,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      String(this.namespace.pid),
    );
    hub.run('ip', 'link', 'set', port, 'master', 'br0', 'up');
    this.namespace.run('ip', 'address', 'add', `${this.address}/24`, 'dev', 'eth0');
    this.namespace.run('ip', 'link', 'set', 'eth0', 'up');
    this.namespace.run('ip', 'link', 'set', 'lo', 'up');
  }

  /** Breaks the line, without a word to either side. */
  cut(how: Cut): void {
    const hooks = how === 'deaf' ? ['input'] : how === 'mute' ? ['output'] : ['input', 'output'];
    const what = how === 'lossy' ? 'numgen random mod 100 < 20 drop' : 'drop';
    for (const hook of hooks) this.rule(hook, what);
  }

  /** Breaks the line to one other machine. */
  cutFrom(other: Host): void {
    this.rule('input', `ip saddr ${other.address} drop`);
    this.rule('output', `ip daddr ${other.address} drop`);
  }

  mend(): void {
    this.namespace.run('nft', 'flush', 'ruleset');
  }

  private rule(hook: string, what: string): void {
    const interfaceOf = hook === 'input' ? 'iifname' : 'oifname';
    this.namespace.run('nft', 'add', 'table', 'inet', 'cut');
    this.namespace.run(
      'nft',
      `add chain inet cut ${hook} { type filter hook ${hook} priority 0; policy accept; }`,
    );
    this.namespace.run('nft', `add rule inet cut ${hook} ${interfaceOf} eth0 ${what}`);
  }
}
