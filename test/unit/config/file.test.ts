import { afterEach, describe, expect, test } from 'bun:test';
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { loadConfig } from '../../../src/config/load.ts';
import type { Env } from '../../../src/platform/index.ts';
import { configFixture } from './fixture.ts';

const fixture = configFixture();
const { root, home, file, platform } = fixture;
const GOOD = 'repl:\n  node_id: node-a\n';
const userFile = path.join(home, '.config/steep/config.yaml');
const systemFile = path.join(root, 'etc/steep/config.yaml');

const isRoot = process.geteuid?.() === 0;
const isWindows = process.platform === 'win32';
console.log(
  isRoot
    ? 'skipped: an unreadable file (root may read everything)'
    : 'skipped: a file of another user (only root can make one)',
);

function put(place: string, nodeId: string): void {
  writeFileSync(place, `repl:\n  node_id: ${nodeId}\n`, { mode: 0o600 });
}

function loaded(options: { path?: string; env?: Env }): string {
  return loadConfig({ env: { HOME: home }, platform, ...options }).config.node_id;
}

function refused(options: { path?: string; env?: Env }): string {
  try {
    return `loaded ${loaded(options)}`;
  } catch (error) {
    return (error as Error).message.replaceAll(root, '');
  }
}

afterEach(() => {
  for (const each of [userFile, systemFile, file]) rmSync(each, { recursive: true, force: true });
  chmodSync(path.dirname(file), 0o700);
});

describe('the file is looked up', () => {
  test('--config, then STEEP_REPL_CONFIG, then the user, then the system: the first wins', () => {
    put(file, 'given');
    const named = path.join(root, 'named.yaml');
    put(named, 'named');
    put(userFile, 'user');
    put(systemFile, 'system');
    const env = { HOME: home, STEEP_REPL_CONFIG: named };
    expect(loaded({ path: file, env })).toBe('given');
    expect(loaded({ env })).toBe('named');
    expect(loaded({ env: { HOME: home, STEEP_REPL_CONFIG: '' } })).toBe('user');
    expect(loaded({ env: { HOME: home } })).toBe('user');
    expect(loaded({ env: {} })).toBe('system');
    rmSync(userFile);
    expect(loaded({ env: { HOME: home } })).toBe('system');
  });

  test('~ in STEEP_REPL_CONFIG is the home folder', () => {
    put(userFile, 'user');
    expect(loaded({ env: { HOME: home, STEEP_REPL_CONFIG: '~/.config/steep/config.yaml' } })).toBe('user');
  });

  test('never in the current directory, but a relative --config counts from there', () => {
    put(file, 'here');
    const before = process.cwd();
    process.chdir(path.dirname(file));
    try {
      expect(refused({})).toStartWith('no configuration file; looked for ');
      expect(loaded({ path: 'config.yaml' })).toBe('here');
    } finally {
      process.chdir(before);
    }
  });

  test('nothing found: the places, and how to make one', () => {
    expect(refused({})).toBe(
      'no configuration file; looked for /home/.config/steep/config.yaml and /etc/steep/config.yaml; steep-repl config init writes one',
    );
    expect(refused({ env: {} })).toBe(
      'no configuration file; looked for /etc/steep/config.yaml; steep-repl config init writes one',
    );
  });

  test('a file named outright that is not there is not replaced by another', () => {
    put(userFile, 'user');
    expect(refused({ path: `${root}/none.yaml` }).replaceAll(root, '')).toBe(
      '/none.yaml: the configuration file does not exist (named by --config); steep-repl config init --config /none.yaml writes one',
    );
    expect(refused({ env: { HOME: home, STEEP_REPL_CONFIG: `${root}/none.yaml` } })).toBe(
      '/none.yaml: the configuration file does not exist (named by STEEP_REPL_CONFIG); steep-repl config init writes one',
    );
  });

  test('the scope is the machine for its own folder and for root, else the user', () => {
    put(systemFile, 'a');
    put(userFile, 'b');
    const scope = (options: { path?: string; privileged?: boolean }): string =>
      loadConfig({
        path: options.path,
        env: { HOME: home },
        platform: {
          ...platform,
          currentUser: () => ({ name: 'x', uid: 1, privileged: options.privileged ?? false }),
        },
      }).scope;
    expect(scope({})).toBe('user');
    expect(scope({ path: systemFile })).toBe('system');
    expect(scope({ privileged: true })).toBe('system');
    const { config } = loadConfig({ path: systemFile, env: { HOME: home }, platform });
    expect(config.state_dir).toBe(path.join(root, 'var/lib/steep-repl/a'));
  });
});

describe.skipIf(isWindows)('a file that others may change is refused', () => {
  test.each([
    [0o620, '0620'],
    [0o602, '0602'],
    [0o666, '0666'],
  ])('a file of mode %o', (mode, shown) => {
    put(file, 'a');
    chmodSync(file, mode);
    expect(refused({ path: file })).toBe(
      `/own/config.yaml: other users may write this file (its mode is ${shown}), and what it says is run; run: chmod go-w /own/config.yaml`,
    );
  });

  test('a folder of mode 0770, and both are told at once', () => {
    put(file, 'a');
    chmodSync(file, 0o660);
    chmodSync(path.dirname(file), 0o770);
    expect(refused({ path: file })).toBe(
      [
        'the configuration has 2 problems',
        '  /own/config.yaml: other users may write this file (its mode is 0660), and what it says is run; run: chmod go-w /own/config.yaml',
        '  /own: other users may write this folder of the configuration (its mode is 0770), and what it says is run; run: chmod go-w /own',
      ].join('\n'),
    );
  });

  test('a folder that only the symlink leads to', () => {
    const open = path.join(root, 'open');
    mkdirSync(open, { recursive: true });
    chmodSync(open, 0o777);
    put(path.join(open, 'config.yaml'), 'a');
    symlinkSync(path.join(open, 'config.yaml'), file);
    expect(refused({ path: file })).toContain('/open: other users may write this folder');
  });

  test('a folder in which the symlink could be swapped for another', () => {
    const open = path.join(root, 'open-too');
    mkdirSync(open, { recursive: true });
    chmodSync(open, 0o777);
    put(file, 'a');
    symlinkSync(file, path.join(open, 'config.yaml'));
    expect(refused({ path: path.join(open, 'config.yaml') })).toContain(
      '/open-too: other users may write this folder',
    );
  });

  test('a folder further up, where the one below could be swapped', () => {
    const open = path.join(root, 'open-above');
    mkdirSync(path.join(open, 'a/b'), { recursive: true });
    const deep = path.join(open, 'a/b/config.yaml');
    put(deep, 'a');
    expect(loaded({ path: deep })).toBe('a');
    chmodSync(open, 0o775); // a group that may write it was meant to
    expect(loaded({ path: deep })).toBe('a');
    chmodSync(open, 0o777);
    expect(refused({ path: deep })).toBe(
      '/open-above: other users may write this folder above the configuration (its mode is 0777), and what it says is run; keep the configuration elsewhere, or run: chmod go-w /open-above',
    );
    // As /tmp: nobody else can swap what is ours.
    chmodSync(open, 0o1777);
    expect(loaded({ path: deep })).toBe('a');
  });

  test.skipIf(!isRoot)('a folder further up that belongs to another user, sticky or not', () => {
    const foreign = path.join(root, 'foreign');
    mkdirSync(path.join(foreign, 'a'), { recursive: true });
    const deep = path.join(foreign, 'a/config.yaml');
    put(deep, 'a');
    for (const mode of [0o755, 0o1755]) {
      chmodSync(foreign, mode);
      chownSync(foreign, 12345, 12345);
      expect(refused({ path: deep })).toContain(
        '/foreign: other users may write this folder above the configuration (it belongs to user id 12345)',
      );
    }
  });

  test('a folder through which one of several symlinks leads, relative ones among them', () => {
    const open = path.join(root, 'open-between');
    mkdirSync(path.join(open, 'private'), { recursive: true });
    put(file, 'a');
    symlinkSync(file, path.join(open, 'private/second'));
    symlinkSync('../open-between/private', path.join(root, 'home/first'));
    const way = path.join(root, 'home/first/second');
    expect(loaded({ path: way })).toBe('a');
    chmodSync(open, 0o777);
    expect(refused({ path: way })).toContain(
      '/open-between: other users may write this folder above the configuration',
    );
  });

  test('a file that others may read is fine', () => {
    put(file, 'a');
    chmodSync(file, 0o644);
    expect(loaded({ path: file })).toBe('a');
  });

  test.skipIf(!isRoot)('a file of another user', () => {
    put(file, 'a');
    chownSync(file, 12345, 12345);
    expect(refused({ path: file })).toBe(
      '/own/config.yaml: other users may write this file (it belongs to user id 12345), and what it says is run; run: chown root /own/config.yaml',
    );
  });

  test.skipIf(isRoot)('a file that we may not read, or not even see, is no reason to take another', () => {
    put(systemFile, 'system');
    put(userFile, 'user');
    chmodSync(userFile, 0o000);
    expect(refused({})).toBe(
      '/home/.config/steep/config.yaml: cannot be read: permission denied; run as its owner, or give this user the right to read it',
    );
    chmodSync(path.dirname(userFile), 0o000);
    const message = refused({});
    chmodSync(path.dirname(userFile), 0o700);
    expect(message).toStartWith('/home/.config/steep/config.yaml: cannot be looked at: EACCES');
  });
});

describe('what is no configuration is refused in a line', () => {
  test('a folder', () => {
    expect(refused({ path: path.dirname(file) })).toBe(
      '/own: is a folder; name the file in it, such as /own/config.yaml',
    );
    mkdirSync(userFile);
    expect(refused({})).toStartWith('/home/.config/steep/config.yaml: is a folder');
  });

  test.skipIf(isWindows)('a device, without reading it', () => {
    expect(refused({ path: '/dev/zero' })).toBe('/dev/zero: is not a regular file');
  });

  test('a symlink that leads nowhere is no reason to take another', () => {
    symlinkSync(path.join(root, 'nowhere'), userFile);
    put(systemFile, 'system');
    expect(refused({})).toBe('/home/.config/steep/config.yaml: is a symlink that leads nowhere');
  });

  test('a file of 10 MB', () => {
    expect(fixture.refusal('#'.repeat(10_000_000))).toBe(
      'config.yaml: has 10000000 bytes; a configuration has at most 262144; name the right file',
    );
  });

  test.each<[string, Uint8Array, string]>([
    [
      'binary',
      new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2]),
      'config.yaml: is not a text file; name the right file',
    ],
    ['UTF-16', Buffer.from(`\uFEFF${GOOD}`, 'utf16le'), 'config.yaml: is UTF-16; save it as UTF-8'],
    [
      'Latin-1',
      Buffer.from('repl:\n  node_id: a\n  node_name: K\u00f6ln\n', 'latin1'),
      'config.yaml:3: is not valid UTF-8; save it as UTF-8',
    ],
  ])('%s', (_, bytes, says) => {
    expect(fixture.refusal(bytes)).toBe(says);
  });

  test('a large but honest file is read in no time', () => {
    const others = Array.from({ length: 10_000 }, (_, i) => `other_${i}: {a: 1}`).join('\n');
    fixture.write(`${others}\n${GOOD}`);
    const began = performance.now();
    expect(fixture.load().config.node_id).toBe('node-a');
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test('one replaced while it is in use is simply read again', () => {
    fixture.write(GOOD);
    expect(fixture.load().config.node_id).toBe('node-a');
    writeFileSync(`${file}.new`, GOOD.replace('node-a', 'node-b'), { mode: 0o600 });
    renameSync(`${file}.new`, file);
    expect(fixture.load().config.node_id).toBe('node-b');
  });
});
