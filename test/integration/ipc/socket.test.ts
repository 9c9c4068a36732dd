/** Who may have the path of the socket, and who may connect. */
import { describe, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { IpcClient } from '../../../src/ipc/client.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import { Sandbox, steepReplCommand } from '../../support/cli.ts';
import { ask, RawIpc } from '../../support/ipc-raw.ts';
import { waitFor } from '../../support/wait.ts';
import { has, DoorDaemon } from './support.ts';

const NOBODY = 65_534;
/** A group that nobody is in but those whom a test puts there. */
const GROUP = readFileSync('/etc/group', 'utf8')
  .split('\n')
  .map((line) => line.split(':'))
  .find(([name]) => name === 'games');
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot && GROUP !== undefined;
if (!asRoot) console.log('skipped: only root can act as other users; and there must be a group games');

function modeOf(file: string): string {
  return (lstatSync(file).mode & 0o7777).toString(8);
}

/** Starts a daemon that is to refuse, and gives its exit code and what it said. */
async function refusal(
  sandbox: Sandbox,
  config: Record<string, unknown> = {},
): Promise<{ code: number; log: string }> {
  const daemon = new DoorDaemon({ sandbox, config });
  const late = setTimeout(() => daemon.process.kill('SIGKILL'), 20_000);
  const code = await daemon.process.exited;
  clearTimeout(late);
  await waitFor(() => daemon.log !== '', 'the reason');
  return { code, log: daemon.log };
}

/** A server on a Unix socket in this process. */
async function listenAt(address: string): Promise<AsyncDisposable> {
  const server = net.createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(address, resolve));
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** A socket that nobody answers on: its process was killed. */
async function makeStale(address: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(address)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await Bun.spawn([process.execPath, '-e', script], { stdio: ['ignore', 'ignore', 'ignore'] }).exited;
  expect(lstatSync(address).isSocket()).toBe(true);
}

describe('the mode of the socket', () => {
  // A thread that does nothing but look: the time between bind and chmod is some microseconds.
  async function modesSeen(sandbox: Sandbox, start: () => Promise<DoorDaemon>): Promise<string[]> {
    const watcher = Bun.spawn(
      [
        process.execPath,
        '-e',
        `const { lstatSync } = require('node:fs'); const seen = new Set(); const until = Date.now() + 60_000;
         let more = 0;
         while (Date.now() < until && more < 20_000) {
           const found = lstatSync(process.argv[1], { throwIfNoEntry: false });
           if (found?.isSocket()) { seen.add((found.mode & 0o7777).toString(8) + ':' + found.gid); more += 1; }
         }
         console.log([...seen].join(' '));`,
        path.join(sandbox.folder, 'ipc.sock'),
      ],
      { stdout: 'pipe' },
    );
    await using _daemon = await start();
    return (await new Response(watcher.stdout).text()).trim().split(' ');
  }

  test('is open to nobody else from the first moment, then 0600, and the folder made for it can be passed', async () => {
    using sandbox = new Sandbox();
    const own = process.getgid!();
    const seen = await modesSeen(sandbox, () => DoorDaemon.start({ sandbox }));
    // 0700 for the moment between bind, under umask 0077, and chmod.
    for (const state of seen) expect([`700:${own}`, `600:${own}`]).toContain(state);
    expect(seen.at(-1)).toBe(`600:${own}`);
    using other = new Sandbox();
    const address = path.join(other.folder, 'deep/down/s');
    await using _daemon = await DoorDaemon.start({ sandbox: other, config: { ipc: { path: address } } });
    expect([modeOf(address), modeOf(path.dirname(address)), modeOf(path.join(other.folder, 'deep'))]).toEqual(
      ['600', '755', '755'],
    );
  });

  test.skipIf(!asRoot)('is 0660 for a group, and is open to no other group before', async () => {
    using sandbox = new Sandbox();
    const gid = Number(GROUP![2]);
    const seen = await modesSeen(sandbox, () =>
      DoorDaemon.start({ sandbox, config: { ipc: { group: GROUP![0] } } }),
    );
    expect(seen.at(-1)).toBe(`660:${gid}`);
    for (const state of seen)
      expect([
        `700:${process.getgid!()}`,
        `700:${gid}`,
        `600:${process.getgid!()}`,
        `600:${gid}`,
        `660:${gid}`,
      ]).toContain(state);
  });

  test('is not given to a group that does not exist', async () => {
    using sandbox = new Sandbox();
    const { code, log } = await refusal(sandbox, { ipc: { group: 'no-such-group' } });
    expect([code, log.includes('no-such-group')]).toEqual([2, true]);
    expect(existsSync(path.join(sandbox.folder, 'ipc.sock'))).toBe(false);
  });

  test.skipIf(!asRoot)(
    'cannot be given to a group by somebody who is not in it: exit 1, and no socket is left',
    async () => {
      using sandbox = new Sandbox();
      using _open = passable(sandbox);
      sandbox.writeConfig({
        node_id: 'a',
        grpc: { enabled: false },
        ipc: { path: path.join(sandbox.folder, 'own/s'), group: GROUP![0] },
      });
      for (const name of ['own', 'state']) mkdirSync(path.join(sandbox.folder, name), { mode: 0o700 });
      for (const name of ['own', 'state', 'config.yaml'])
        chownSync(path.join(sandbox.folder, name), NOBODY, NOBODY);
      const child = Bun.spawn(
        [
          'setpriv',
          `--reuid=${NOBODY}`,
          `--regid=${NOBODY}`,
          '--clear-groups',
          ...steepReplCommand,
          'run',
          '--config',
          sandbox.config,
        ],
        {
          env: sandbox.env,
          cwd: '/',
          stdio: ['ignore', 'ignore', 'pipe'],
        },
      );
      const log = await new Response(child.stderr).text();
      expect([await child.exited, log]).toEqual([
        1,
        expect.stringContaining(`to group ${GROUP![0]}`) as unknown as string,
      ]);
      expect(readdirSync(path.join(sandbox.folder, 'own'))).toEqual([]);
    },
  );
});

describe('what lies in place of the socket', () => {
  test('is left alone when it is a file, a folder, or a link to whatever: exit 1, naming it', async () => {
    const obstacles: Record<string, (address: string, folder: string) => void> = {
      file: (address) => writeFileSync(address, 'precious'),
      folder: (address) => mkdirSync(address),
      'link to nowhere': (address, folder) => symlinkSync(path.join(folder, 'nowhere'), address),
      'link to a file': (address, folder) => {
        writeFileSync(path.join(folder, 'file'), 'precious');
        symlinkSync(path.join(folder, 'file'), address);
      },
    };
    await Promise.all(
      Object.entries(obstacles).map(async ([name, make]) => {
        using sandbox = new Sandbox();
        const address = path.join(sandbox.folder, 'ipc.sock');
        make(address, sandbox.folder);
        const before = lstatSync(address).ino;
        const { code, log } = await refusal(sandbox);
        expect([name, code, log.includes(`${address} is there already and is no socket`)]).toEqual([
          name,
          1,
          true,
        ]);
        expect([name, lstatSync(address).ino]).toEqual([name, before]);
        expect(existsSync(path.join(sandbox.folder, 'nowhere'))).toBe(false);
      }),
    );
  });

  test('is left alone when it is a link to a socket that somebody answers on', async () => {
    using sandbox = new Sandbox();
    const real = path.join(sandbox.folder, 'real.sock');
    const address = path.join(sandbox.folder, 'ipc.sock');
    await using _real = await listenAt(real);
    symlinkSync(real, address);
    const { code, log } = await refusal(sandbox);
    expect([code, log.includes(address)]).toEqual([1, true]);
    expect([lstatSync(address).isSymbolicLink(), lstatSync(real).isSocket()]).toEqual([true, true]);
  });

  test('is removed when it is a socket of ours that nobody answers on', async () => {
    using sandbox = new Sandbox();
    const address = path.join(sandbox.folder, 'ipc.sock');
    await makeStale(address);
    await using daemon = await DoorDaemon.start({ sandbox });
    expect((await ask(daemon.socket, 'status.get')).error).toBeNull();
    daemon.process.kill('SIGKILL');
    await daemon.process.exited;
    expect(lstatSync(address).isSocket()).toBe(true);
    await using again = await DoorDaemon.start({ sandbox });
    expect((await ask(again.socket, 'status.get')).result.pid).toBe(again.pid);
  });

  test('stays when somebody answers on it: exit 1, naming it', async () => {
    using sandbox = new Sandbox();
    const address = path.join(sandbox.folder, 'ipc.sock');
    await using _other = await listenAt(address);
    const before = lstatSync(address).ino;
    const { code, log } = await refusal(sandbox);
    expect([code, log.includes(`another daemon answers at ${address}`)]).toEqual([1, true]);
    expect(lstatSync(address).ino).toBe(before);
  });

  test('stays with the daemon that has it when a second one starts, and when that one ends', async () => {
    await using daemon = await DoorDaemon.start({});
    using sandbox = new Sandbox();
    const { code, log } = await refusal(sandbox, { ipc: { path: daemon.socket } });
    expect([code, log.includes(daemon.socket)]).toEqual([1, true]);
    expect((await ask(daemon.socket, 'status.get')).result.pid).toBe(daemon.pid);
  });

  test.skipIf(!asRoot)(
    'stays when it belongs to somebody else, although nobody answers: exit 1, naming him',
    async () => {
      using sandbox = new Sandbox();
      const address = path.join(sandbox.folder, 'ipc.sock');
      await makeStale(address);
      chownSync(address, NOBODY, NOBODY);
      const { code, log } = await refusal(sandbox);
      expect([code, log.includes(`${address} belongs to nobody`)]).toEqual([1, true]);
      expect(lstatSync(address).uid).toBe(NOBODY);
    },
  );

  test('is removed at a stop, with its lock, which would be in the way of another user’s daemon', async () => {
    await using daemon = await DoorDaemon.start({});
    expect(existsSync(`${daemon.socket}.lock`)).toBe(true);
    expect(await daemon.stop()).toBe(0);
    expect(existsSync(daemon.socket)).toBe(false);
    expect(existsSync(`${daemon.socket}.lock`)).toBe(false);
  });

  test('cannot be locked when its lock cannot be had: exit 1, and what to do', async () => {
    using sandbox = new Sandbox();
    const address = path.join(sandbox.folder, 'ipc.sock');
    symlinkSync(path.join(sandbox.folder, 'nowhere'), `${address}.lock`);
    const { code, log } = await refusal(sandbox);
    expect([code, log.includes(`cannot lock ${address}: `), log.includes(`:  rm ${address}.lock`)]).toEqual([
      1,
      true,
      true,
    ]);
  });
});

test.skipIf(!asRoot)('a client does not speak to a socket of another user', async () => {
  using sandbox = new Sandbox();
  const address = path.join(sandbox.folder, 'ipc.sock');
  await using _other = await listenAt(address);
  chownSync(address, NOBODY, NOBODY);
  await expect(IpcClient.connect(address, thisPlatform())).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    message: `the socket ${address} is not to be trusted: it belongs to nobody`,
  });
});

/** Lets other users pass to the files of a sandbox, which lie below the private folder of the test run. */
function passable(sandbox: Sandbox): Disposable {
  const opened: [string, number][] = [];
  for (let folder = sandbox.folder; folder.startsWith(tmpdir()); folder = path.dirname(folder)) {
    const mode = statSync(folder).mode & 0o7777;
    if ((mode & 0o001) === 0) {
      opened.push([folder, mode]);
      chmodSync(folder, mode | 0o011);
    }
  }
  return {
    [Symbol.dispose]: () => {
      for (const [folder, mode] of opened) if (existsSync(folder)) chmodSync(folder, mode);
    },
  };
}

describe.skipIf(!asRoot || !has('socat') || !has('setpriv'))('another user of this machine', () => {
  /** The answer that user 65534 gets, or how it failed to connect. */
  async function askAs(
    groups: string,
    socket: string,
    method: string,
  ): Promise<{ id: string; result: unknown; error: { code: string; message: string } | null } | string> {
    const child = Bun.spawn(
      ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, groups, 'socat', '-', `UNIX-CONNECT:${socket}`],
      {
        stdin: Buffer.from(`{"id":"1","method":"${method}"}\n`),
        stdout: 'pipe',
        stderr: 'pipe',
      },
    );
    const [out, failed] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    return out === '' ? failed : JSON.parse(out);
  }

  test('cannot connect where no group is named', async () => {
    await using daemon = await DoorDaemon.start({});
    using _open = passable(daemon.sandbox);
    expect(await askAs('--clear-groups', daemon.socket, 'status.get')).toContain('Permission denied');
  });

  test('cannot connect without the group, and may ask and change with it', async () => {
    await using daemon = await DoorDaemon.start({ config: { ipc: { group: GROUP![0] } } });
    using _open = passable(daemon.sandbox);
    expect(await askAs('--clear-groups', daemon.socket, 'status.get')).toContain('Permission denied');
    for (const method of ['status.get', 'daemon.reload'])
      expect(await askAs(`--groups=${GROUP![2]}`, daemon.socket, method)).toMatchObject({
        id: '1',
        error: null,
      });
  });

  // The socket's group is then the daemon's own one, which ipc.group does not name.
  test('may ask but not change where only the mode lets him in', async () => {
    await using daemon = await DoorDaemon.start({ config: { ipc: { mode: '0660' } } });
    using _open = passable(daemon.sandbox);
    for (const method of ['status.get', 'health.check', 'events.subscribe'])
      expect(await askAs('--groups=0', daemon.socket, method)).toMatchObject({ error: null });
    for (const method of [
      'daemon.reload',
      'nodes.join',
      'nodes.remove',
      'nodes.readmit',
      'nodes.set_status',
      'coordinator.transfer',
    ])
      expect(await askAs('--groups=0', daemon.socket, method)).toMatchObject({
        result: null,
        error: { code: 'PERMISSION_DENIED', message: `nobody may not call ${method}` },
      });
    expect((await ask(daemon.socket, 'daemon.reload')).error).toBeNull();
  });

  test('is told apart from root although both ask at once, hundreds of times', async () => {
    await using daemon = await DoorDaemon.start({ config: { ipc: { mode: '0660' } } });
    using _open = passable(daemon.sandbox);
    const pending = new Set(['others']);
    const others = Promise.all(
      Array.from({ length: 3 }, async () => {
        const codes = new Set<string | undefined>();
        for (let count = 0; count < 30; count += 1) {
          const answer = await askAs('--groups=0', daemon.socket, 'daemon.reload');
          codes.add(typeof answer === 'string' ? answer : answer.error?.code);
        }
        return [...codes];
      }),
    ).finally(() => pending.clear());
    let asked = 0;
    while (pending.size > 0 || asked < 300) {
      using client = await RawIpc.open(daemon.socket);
      expect((await client.ask('daemon.reload')).error).toBeNull();
      asked += 1;
    }
    expect(await others).toEqual([['PERMISSION_DENIED'], ['PERMISSION_DENIED'], ['PERMISSION_DENIED']]);
  });
});

const namespaces =
  // In a namespace of anybody else / belongs to nobody that it knows, and so no configuration is trusted.
  process.getuid?.() === 0 &&
  // The sources must not lie where the namespace puts another folder; a compiled executable is brought along.
  !(steepReplCommand.length > 1 && import.meta.dir.startsWith('/tmp/')) &&
  has('unshare') &&
  Bun.spawnSync(['unshare', '--mount', '--map-root-user', 'mount', '--bind', '/tmp', '/mnt']).exitCode === 0;
if (!namespaces)
  console.log('skipped: wants root and a mount namespace, since /tmp/steep-repl.sock is everybody’s');

/** A daemon with the usual addresses, in a mount namespace where /tmp is a folder of the sandbox. */
class NamespaceDaemon implements AsyncDisposable {
  readonly sandbox = new Sandbox();
  readonly shared = path.join(this.sandbox.folder, 'tmp/steep-repl.sock');
  readonly private = path.join(this.sandbox.folder, 'run/steep-repl/steep-repl.sock'); // /run of the namespace
  private child: Bun.Subprocess<'ignore', 'ignore', 'pipe'> | undefined;
  log = '';

  constructor() {
    for (const name of ['tmp', 'run']) mkdirSync(path.join(this.sandbox.folder, name), { mode: 0o700 });
    const repl = {
      node_id: 'a',
      grpc: { enabled: false },
      state_dir: '/mnt/state',
      postgresql: { host: '/mnt' },
    };
    mkdirSync(path.join(this.sandbox.folder, 'home/.config/steep'), { recursive: true, mode: 0o700 });
    writeFileSync(
      path.join(this.sandbox.folder, 'home/.config/steep/config.yaml'),
      JSON.stringify({ repl }),
      { mode: 0o600 },
    );
  }

  async start(): Promise<this> {
    const command = [...steepReplCommand];
    const script = ['mount --bind "$0" /mnt'];
    if (command.length === 1) {
      writeFileSync(path.join(this.sandbox.folder, 'steep-repl'), '');
      script.push(`mount --bind '${command[0]}' /mnt/steep-repl`);
      command[0] = '/mnt/steep-repl';
    }
    script.push('mount --bind /mnt/tmp /tmp', 'mount --bind /mnt/run /run', 'exec "$@"');
    this.child = Bun.spawn(
      [
        'unshare',
        '--mount',
        '--map-root-user',
        'sh',
        '-c',
        script.join(' && '),
        this.sandbox.folder,
        ...command,
        'run',
      ],
      {
        env: {
          ...this.sandbox.env,
          HOME: '/mnt/home',
          STEEP_REPL_LOG_FORMAT: 'json',
        },
        cwd: '/',
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    void (async () => {
      for await (const chunk of this.child!.stderr) this.log += new TextDecoder().decode(chunk);
    })();
    await waitFor(() => {
      if (this.child!.exitCode !== null) throw new Error(`the daemon exited: ${this.log}`);
      return this.log.includes('"msg":"ready"');
    }, 'the daemon to be ready');
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child?.kill('SIGTERM');
    await this.child?.exited;
    this.sandbox[Symbol.dispose]();
  }
}

describe.skipIf(!namespaces)('the usual addresses', () => {
  test('are both served, 0600, and the private one is named', async () => {
    await using daemon = await new NamespaceDaemon().start();
    for (const address of [daemon.private, daemon.shared]) {
      expect(modeOf(address)).toBe('600');
      const { result } = await ask(address, 'status.get');
      expect(result.ipc).toEqual({ listening: true, path: '/run/steep-repl/steep-repl.sock' });
    }
  });

  test('may lack the shared one, which somebody else has: an issue, and not fatal', async () => {
    await using daemon = new NamespaceDaemon();
    writeFileSync(daemon.shared, 'squatted');
    await daemon.start();
    const { result } = await ask(daemon.private, 'status.get');
    expect(result.issues.filter(({ severity }: { severity: string }) => severity === 'warning')).toEqual([
      {
        severity: 'warning',
        message:
          'other Steep programs will not find this daemon: /tmp/steep-repl.sock is there already and is no socket',
        hint: 'remove it, or set ipc.path',
      },
    ]);
    expect(readFileSync(daemon.shared, 'utf8')).toBe('squatted');
    rmSync(daemon.shared);
  });
});
