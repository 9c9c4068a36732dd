import { afterAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  currentUser,
  lockFile,
  readableByOthers,
  replaceableByOthers,
  userRuntimeDir,
  writableByOthers,
} from '../../../src/platform/posix.ts';
import { waitFor } from '../../support/wait.ts';

const source = path.resolve(import.meta.dir, '../../../src/platform/posix.ts');
const folder = mkdtempSync(path.join(tmpdir(), 'posix-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
function fresh(): string {
  return path.join(folder, `file-${++count}`);
}
function fileWithMode(mode: number): string {
  const file = fresh();
  writeFileSync(file, '');
  chmodSync(file, mode);
  return file;
}
function folderWithMode(mode: number): string {
  const dir = fresh();
  mkdirSync(dir);
  chmodSync(dir, mode);
  return dir;
}

const windows = process.platform === 'win32';

describe.skipIf(windows)('writableByOthers', () => {
  test.each([0o600, 0o644, 0o755, 0o444])('trusts a file of ours with mode %o', (mode) => {
    expect(writableByOthers(fileWithMode(mode))).toBeUndefined();
    expect(writableByOthers(folderWithMode(mode))).toBeUndefined();
  });

  test.each([
    [0o620, '0620'],
    [0o602, '0602'],
    [0o666, '0666'],
    [0o777, '0777'],
  ])('refuses a file or folder with mode %o, and says so', (mode, text) => {
    for (const each of [fileWithMode(mode), folderWithMode(mode)])
      expect(writableByOthers(each)).toEqual({
        reason: `its mode is ${text}`,
        remedy: `chmod go-w ${each}`,
      });
  });

  test('trusts a folder like /tmp, where nobody can replace what is ours', () => {
    expect(replaceableByOthers(folderWithMode(0o1777))).toBeUndefined();
    expect(replaceableByOthers(folderWithMode(0o777))?.reason).toBe('its mode is 0777');
    expect(replaceableByOthers(fileWithMode(0o600))).toBeUndefined();
  });

  test('refuses it where they must not even add something of theirs', () => {
    expect(writableByOthers(folderWithMode(0o1777))?.reason).toBe('its mode is 1777');
    expect(writableByOthers(fileWithMode(0o1666))?.reason).toBe('its mode is 1666');
  });

  test.skipIf(process.getuid?.() !== 0)('refuses what belongs to another user: its mode is no remedy', () => {
    const file = fileWithMode(0o600);
    chownSync(file, 12345, 12345);
    const foreign = { reason: 'it belongs to user id 12345', remedy: `chown root ${file}` };
    expect(writableByOthers(file)).toEqual(foreign);
    expect(readableByOthers(file)).toEqual(foreign);
    expect(readableByOthers(file, 12345)).toBeUndefined();

    chmodSync(file, 0o666);
    expect(writableByOthers(file)?.remedy).toBe(`chown root ${file} && chmod go-w ${file}`);
    expect(readableByOthers(file)?.remedy).toBe(`chown root ${file} && chmod 600 ${file}`);
    expect(readableByOthers(file, 12345)).toEqual({
      reason: 'its mode is 0666',
      remedy: `chmod 600 ${file}`,
    });
  });

  test('has a remedy that a shell understands', () => {
    const file = `${fresh()} it's`;
    writeFileSync(file, '');
    chmodSync(file, 0o666);
    const remedy = writableByOthers(file)?.remedy ?? '';
    expect(Bun.spawnSync(['sh', '-c', remedy]).exitCode).toBe(0);
    expect(writableByOthers(file)).toBeUndefined();
  });

  test('looks at where a symbolic link leads', () => {
    const link = fresh();
    symlinkSync(fileWithMode(0o666), link);
    expect(writableByOthers(link)?.reason).toBe('its mode is 0666');
  });

  test('throws for what does not exist', () => {
    expect(() => writableByOthers(fresh())).toThrow('ENOENT');
  });
});

describe.skipIf(windows)('readableByOthers', () => {
  test('knows every bit that lets others in', () => {
    expect(readableByOthers(fileWithMode(0o600))).toBeUndefined();
    expect(readableByOthers(fileWithMode(0o400))).toBeUndefined();
    for (const mode of [0o640, 0o604, 0o610, 0o660, 0o602]) {
      const file = fileWithMode(mode);
      expect(readableByOthers(file)).toEqual({
        reason: `its mode is 0${mode.toString(8)}`,
        remedy: `chmod 600 ${file}`,
      });
    }
  });
});

describe.skipIf(windows)('userRuntimeDir', () => {
  test('is what the variable says, else the folder of systemd, if that is ours', () => {
    const ours = folderWithMode(0o700);
    expect(userRuntimeDir({ XDG_RUNTIME_DIR: '/run/mine' }, ours)).toBe('/run/mine');
    for (const env of [{}, { XDG_RUNTIME_DIR: '' }]) {
      expect(userRuntimeDir(env, ours)).toBe(ours);
      expect(userRuntimeDir(env, fresh())).toBeUndefined();
      expect(userRuntimeDir(env, fileWithMode(0o600))).toBeUndefined();
    }
  });

  test('is none where nobody may look, as a service under ProtectHome', () => {
    const loop = fresh();
    symlinkSync(loop, loop); // refused to root, too
    expect(userRuntimeDir({}, path.join(loop, '999'))).toBeUndefined();
  });

  test.skipIf(process.getuid?.() !== 0)('is not that of another user', () => {
    const foreign = folderWithMode(0o700);
    chownSync(foreign, 12345, 12345);
    expect(userRuntimeDir({}, foreign)).toBeUndefined();
  });
});

describe('the folder for sockets of a user whom no variable tells of it', () => {
  test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
    'is below /run/user (needs root)',
    () => {
      // In a mount namespace of its own, where /run/user can be filled.
      const script = `
      const { linux } = await import(${JSON.stringify(path.join(path.dirname(source), 'linux.ts'))});
      console.log(linux.ipcAddresses('user', {}).private, linux.runtimeDirs({}).user);`;
      const fill = 'mount -t tmpfs none /run && mkdir -p /run/user/0 && exec "$@"';
      const command = [process.execPath, '-e', script];
      const { stdout } = Bun.spawnSync(['unshare', '--mount', 'sh', '-c', fill, 'sh', ...command]);
      expect(stdout.toString()).toBe('/run/user/0/steep-repl/steep-repl.sock /run/user/0/steep-repl\n');
    },
  );
});

describe.skipIf(windows)('currentUser', () => {
  test('is who the process runs as, whatever the environment claims', () => {
    const script = `
      const { currentUser } = await import(${JSON.stringify(source)});
      console.log(JSON.stringify(currentUser()));`;
    const { stdout } = Bun.spawnSync([process.execPath, '-e', script], {
      env: { PATH: process.env['PATH'], USER: 'mallory', LOGNAME: 'mallory', HOME: '/nowhere' },
    });
    const name = Bun.spawnSync(['id', '-un']).stdout.toString().trim();
    expect(JSON.parse(stdout.toString())).toEqual({
      name,
      uid: process.getuid?.(),
      privileged: process.getuid?.() === 0,
    });
    expect(currentUser().name).toBe(name);
  });

  test.skipIf(process.getuid?.() !== 0)(
    'has a number for a name in a container that does not know it',
    () => {
      const script = `
      const { currentUser } = await import(${JSON.stringify(source)});
      console.log(JSON.stringify(currentUser()));`;
      const stranger = ['unshare', '--user', '--map-user=54321', '--map-group=54321', '--'];
      const { stdout } = Bun.spawnSync([...stranger, process.execPath, '-e', script]);
      expect(JSON.parse(stdout.toString())).toEqual({ name: '54321', uid: 54321, privileged: false });
    },
  );
});

/** A process that locks `file` and says what came of it, until its stdin closes. It starts a child that outlives it. */
class Locker implements AsyncDisposable {
  private readonly process;

  constructor(file: string) {
    const script = `
      const { lockFile } = await import(${JSON.stringify(source)});
      const lock = lockFile(${JSON.stringify(file)});
      globalThis.keep = lock;
      const child = Bun.spawn(['sleep', '300'], { stdio: ['ignore', 'ignore', 'ignore'] });
      const { spawn } = require('node:child_process');
      const second = spawn('sleep', ['300'], { stdio: 'ignore', detached: true });
      console.log(JSON.stringify({ held: lock === 'held', children: [child.pid, second.pid] }));
      for await (const _ of Bun.stdin.stream()) {}`;
    this.process = Bun.spawn([process.execPath, '-e', script], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'inherit',
    });
  }

  children: number[] = [];

  async answer(): Promise<'locked' | 'held'> {
    const { value } = await this.process.stdout.getReader().read();
    const { held, children } = JSON.parse(new TextDecoder().decode(value)) as {
      held: boolean;
      children: number[];
    };
    this.children = children;
    return held ? 'held' : 'locked';
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.process.exited;
  }

  get childrenLive(): boolean {
    return this.children.length === 2 && this.children.every((pid) => existsSync(`/proc/${pid}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    for (const pid of this.children) process.kill(pid, 'SIGKILL');
  }
}

describe.skipIf(windows)('a locked file', () => {
  test('refuses a second process, and this one too', async () => {
    const file = fresh();
    await using first = new Locker(file);
    expect(await first.answer()).toBe('locked');
    await using second = new Locker(file);
    expect(await second.answer()).toBe('held');
    expect(lockFile(file)).toBe('held');
  });

  test.skipIf(process.platform !== 'linux')(
    'is free after kill -9 of its holder, even while the children of that one live',
    async () => {
      const file = fresh();
      await using first = new Locker(file);
      expect(await first.answer()).toBe('locked');
      await first.kill();
      expect(first.childrenLive).toBe(true);
      // A child has its copy until it has become `sleep`.
      await waitFor(() => {
        const lock = lockFile(file);
        if (lock !== 'held') lock.release();
        return lock !== 'held';
      }, 'the lock to be free');
      expect(first.childrenLive).toBe(true);
    },
  );

  test('is private, stays in place, and can be locked again after a release', () => {
    const file = fresh();
    for (let i = 0; i < 3; i++) {
      const lock = lockFile(file);
      if (lock === 'held') throw new Error('held');
      expect(lockFile(file)).toBe('held');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      lock.release();
      expect(existsSync(file)).toBe(true);
    }
  });

  test('is not held any more once another file has taken its name', () => {
    const file = fresh();
    const lock = lockFile(file);
    const other = fresh();
    writeFileSync(other, '');
    renameSync(other, file);
    const second = lockFile(file);
    expect(second).not.toBe('held');
    expect(lockFile(file)).toBe('held');
    for (const one of [lock, second]) if (one !== 'held') one.release();
  });

  test('is never one that a symbolic link leads to', () => {
    const target = fresh();
    const link = fresh();
    symlinkSync(target, link);
    expect(() => lockFile(link)).toThrow('ELOOP');
    expect(existsSync(target)).toBe(false);
  });
});
