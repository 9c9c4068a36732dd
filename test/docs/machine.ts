/**
 * A machine that has nothing but the executable and a PostgreSQL 18: a root folder of its own with busybox as its
 * shell, processes, host name and address of its own. Needs root and Debian's busybox-static.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import type { Host } from '../support/network.ts';
import { nativeDir } from '../support/postgres.ts';
import { waitFor } from '../support/wait.ts';

const BUSYBOX = '/bin/busybox';
const INSTALL = '/usr/bin/install';
const BLOCK_MS = 50_000;
/** On the machine. */
const SESSION = '/tmp/session';
const POSTGRES = { uid: 70, home: '/srv/postgresql' };

export class Machine implements AsyncDisposable {
  readonly root = mkdtempSync(path.join(tmpdir(), 'mc-'));
  readonly name: string;
  private readonly shell: Bun.Subprocess<'pipe', 'pipe', 'pipe'>;
  /** All that was printed: what a person would see on the terminal. */
  printed = '';
  private blocks = 0;

  /** `hosts` is its /etc/hosts; `executable` lies in ~/dist, not installed. */
  constructor(name: string, host: Host, hosts: string, executable: string) {
    this.name = name;
    this.furnish(hosts, executable);
    const environment = ['env', '-i', 'PATH=/usr/local/bin:/bin', 'HOME=/root'];
    const isolate = ['unshare', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child'];
    const inside = [
      `--root=${this.root}`,
      '--mount-proc',
      '/bin/sh',
      '-c',
      `hostname ${name}; exec /bin/sh 2>&1`,
    ];
    this.shell = Bun.spawn(
      [
        'setpriv',
        '--pdeathsig',
        'KILL',
        '--',
        ...host.namespace.prefix,
        ...environment,
        ...isolate,
        ...inside,
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    void this.read();
  }

  /** Types a block of commands, and waits until the last one has ended; the exit code of the first that failed. */
  async type(commands: string): Promise<{ code: number; printed: string }> {
    this.blocks += 1;
    const from = this.printed.length;
    const end = `end-of-block-${this.blocks}`;
    // Errors end a block, not the machine; what runs in the background goes on.
    await this.shell.stdin.write(`${failing(commands)}\necho; echo "${end} $__failed"\n`);
    await this.shell.stdin.flush();
    const found = (): RegExpExecArray | null => new RegExp(`${end} (\\d+)\n`).exec(this.printed.slice(from));
    await waitFor(
      () => found() !== null || this.shell.exitCode !== null,
      `the end of: ${commands}`,
      BLOCK_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.printed.slice(from)}`);
    });
    const match = found();
    return {
      code: Number(match?.[1] ?? -1),
      printed: this.printed.slice(from).slice(0, match?.index).trim(),
    };
  }

  /** The same for what must succeed. */
  async ok(commands: string): Promise<string> {
    const { code, printed } = await this.type(commands);
    if (code !== 0) throw new Error(`exit ${code} on ${this.name} of:\n${commands}\n${printed}`);
    return printed;
  }

  /** A PostgreSQL as its administrator would have made it: running, on the usual port, with the password of the pages. */
  async startPostgresql(): Promise<void> {
    const { home } = POSTGRES;
    await this.ok(`echo secret >/tmp/password
      su postgres -c 'initdb -D ${home}/data -U postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --locale=C -E UTF8 --no-sync >/dev/null'
      su postgres -c 'postgres -D ${home}/data -c fsync=off -c shared_buffers=32MB >${home}/log 2>&1' &
      until grep -q '^ready' ${home}/data/postmaster.pid 2>/dev/null; do sleep 0.1; done`);
  }

  /** Writes a file on it. */
  put(file: string, text: string, mode: number): void {
    const inside = path.join(this.root, file);
    mkdirSync(path.dirname(inside), { recursive: true });
    writeFileSync(inside, text);
    chmodSync(inside, mode);
  }

  /** Takes over a tree of files as scp does, owners and modes included: the folder above it must be there. */
  receive(folder: string, to: string): void {
    run('cp', '-a', folder, path.join(this.root, to));
  }

  /** What somebody types into psql: from outside, since PostgreSQL's package here has none. */
  async sql(text: string): Promise<void> {
    const client = postgres({
      host: path.join(this.root, 'tmp'),
      user: 'postgres',
      max: 1,
      onnotice: () => {},
    });
    try {
      await client.unsafe(text);
    } finally {
      await client.end({ timeout: 1 });
    }
  }

  private furnish(hosts: string, executable: string): void {
    const inside = (...names: string[]): string => path.join(this.root, ...names);
    for (const folder of ['bin', 'dev/shm', 'etc', 'proc', 'root', 'run', 'tmp', 'usr/local/bin', 'var/lib'])
      mkdirSync(inside(folder), { recursive: true });
    chmodSync(this.root, 0o755);
    chmodSync(inside('tmp'), 0o1777);
    chmodSync(inside('dev/shm'), 0o1777);
    run('mknod', '-m', '666', inside('dev/null'), 'c', '1', '3');
    run('mknod', '-m', '666', inside('dev/urandom'), 'c', '1', '9');
    copyFileSync(BUSYBOX, inside('bin/busybox'));
    run('chroot', this.root, '/bin/busybox', '--install', '-s', '/bin');
    copyFileSync(INSTALL, inside('bin/install')); // Debian's busybox has none
    writeFileSync(inside(SESSION), 'cd /root\n');
    writeFileSync(inside('etc/hosts'), hosts);
    writeFileSync(
      inside('etc/passwd'),
      `root:x:0:0::/root:/bin/sh\npostgres:x:${POSTGRES.uid}:${POSTGRES.uid}::${POSTGRES.home}:/bin/sh\n`,
    );
    writeFileSync(inside('etc/group'), `root:x:0:\npostgres:x:${POSTGRES.uid}:\n`);

    const native = nativeDir();
    for (const folder of ['bin', 'lib', 'share'])
      cpSync(path.join(native, folder), inside('usr/local', folder), { recursive: true, dereference: true });
    mkdirSync(inside(POSTGRES.home), { recursive: true });
    run('chown', String(POSTGRES.uid), inside(POSTGRES.home));
    // Where README has it built; installing it is the first thing that it says.
    mkdirSync(inside('root/dist'));
    copyFileSync(executable, inside('root/dist/steep-repl'));
    this.copyLibraries(
      INSTALL,
      executable,
      path.join(native, 'bin/postgres'),
      path.join(native, 'bin/initdb'),
    );
  }

  /** The C library and its like, which every Linux has: those that lie outside of PostgreSQL's own folder. */
  private copyLibraries(...programs: string[]): void {
    const listed = programs.flatMap((program) => run('ldd', program).split('\n'));
    const files = listed.flatMap(
      (line) => /(?:=> |^\s)(\/(?:lib|lib64|usr\/lib)\/\S+) \(/.exec(line)?.[1] ?? [],
    );
    for (const file of new Set(files)) {
      mkdirSync(path.join(this.root, path.dirname(file)), { recursive: true });
      copyFileSync(file, path.join(this.root, file));
    }
  }

  private async read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.shell.stdout) this.printed += decoder.decode(chunk, { stream: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.shell.kill('SIGKILL'); // and with the first process of the machine all others
    await this.shell.exited;
    rmSync(this.root, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

/** Each command of a block in turn, until one fails; folder and environment are kept for the next block. */
function failing(commands: string): string {
  return `(set -e; . ${SESSION}
${commands}
export -p >${SESSION}; echo "cd '$PWD'" >>${SESSION})
__failed=$?`;
}

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
