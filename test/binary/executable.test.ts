/** Defects that exist only in the compiled executable. STEEP_REPL_BINARY names it (`bun run test:binary` builds it). */
import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Sandbox, steepReplCommand } from '../support/cli.ts';

const [executable = ''] = steepReplCommand;

describe('the executable', () => {
  test('is what is tested here', () => {
    expect(steepReplCommand).toHaveLength(1);
    expect(existsSync(executable)).toBe(true);
  });

  test('runs nothing and takes no settings from the folder where it is started', async () => {
    using sandbox = new Sandbox();
    const trap = path.join(sandbox.folder, 'trap');
    const sprung = path.join(trap, 'sprung');
    mkdirSync(path.join(trap, 'node_modules/zod'), { recursive: true });
    const code = `require('node:fs').writeFileSync(${JSON.stringify(sprung)}, 'ran');`;
    writeFileSync(path.join(trap, 'preload.js'), code);
    writeFileSync(
      path.join(trap, 'bunfig.toml'),
      'preload = ["./preload.js"]\n[run]\npreload = ["./preload.js"]\n',
    );
    writeFileSync(path.join(trap, '.env'), 'STEEP_REPL_CONFIG=/from/dot/env\nSTEEP_REPL_NONSENSE=1\n');
    writeFileSync(path.join(trap, '.env.local'), 'STEEP_REPL_CONFIG=/from/dot/env\n');
    writeFileSync(
      path.join(trap, 'tsconfig.json'),
      '{ "compilerOptions": { "paths": { "zod": ["./preload.js"] } } }',
    );
    writeFileSync(
      path.join(trap, 'package.json'),
      '{ "name": "zod", "main": "preload.js", "imports": { "#x": "./preload.js" } }',
    );
    writeFileSync(path.join(trap, 'node_modules/zod/index.js'), code);
    writeFileSync(path.join(trap, 'node_modules/zod/package.json'), '{ "name": "zod", "main": "index.js" }');
    writeFileSync(path.join(trap, 'config.yaml'), 'repl: { node_id: from-current-folder }\n', {
      mode: 0o600,
    });
    const shown = await sandbox.run(['config', 'path', '--json'], { cwd: trap });
    expect(shown.stdout + shown.stderr).not.toContain('/from/dot/env');
    expect(shown.stdout + shown.stderr).not.toContain('NONSENSE');
    expect((await sandbox.run(['config', 'show'], { cwd: trap })).stdout).not.toContain(
      'from-current-folder',
    );
    expect((await sandbox.run(['version'], { cwd: trap })).code).toBe(0);
    expect(existsSync(sprung)).toBe(false);
  });

  test('runs no code that BUN_OPTIONS names', async () => {
    using sandbox = new Sandbox();
    const sprung = path.join(sandbox.folder, 'sprung');
    const preload = path.join(sandbox.folder, 'preload.js');
    writeFileSync(preload, `require('node:fs').writeFileSync(${JSON.stringify(sprung)}, 'ran');`);
    await sandbox.run(['version'], { env: { BUN_OPTIONS: `--preload=${preload}` } });
    expect(existsSync(sprung)).toBe(false);
  });

  test('runs with an empty environment, from any folder, even one that is gone, and leaves no file', async () => {
    using sandbox = new Sandbox();
    const empty = path.join(sandbox.folder, 'empty');
    mkdirSync(empty);
    const inEmpty = Bun.spawnSync([executable, 'version'], { env: {}, cwd: empty });
    expect(inEmpty.stdout.toString()).toMatch(/^steep-repl \d+\.\d+\.\d+\n$/);
    expect(readdirSync(empty)).toEqual([]);
    expect(Bun.spawnSync([executable, 'version'], { env: {}, cwd: '/' }).exitCode).toBe(0);
    const gone = path.join(sandbox.folder, 'gone');
    mkdirSync(gone);
    const script = `rmdir '${gone}' && exec '${executable}' version`;
    expect(Bun.spawnSync(['sh', '-c', script], { cwd: gone }).exitCode).toBe(0);
  });

  test('needs no home folder that can be written', async () => {
    using sandbox = new Sandbox();
    const home = path.join(sandbox.folder, 'home');
    rmSync(home, { recursive: true });
    writeFileSync(home, ''); // a file: nobody can write below it, not even root
    sandbox.writeConfig({ node_id: 'node-a', postgresql: { host: sandbox.folder } });
    expect(await sandbox.run(['config', 'show', '--config', sandbox.config])).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect((await sandbox.run(['init-extension', '--print'])).code).toBe(0);
  });

  test('tells a wrong word and a wrong option with exit code 2, and prints help on stdout only when asked', async () => {
    using sandbox = new Sandbox();
    expect(await sandbox.run(['frobnicate'])).toMatchObject({ code: 2, stdout: '' });
    expect(await sandbox.run(['version', '--frobnicate'])).toMatchObject({ code: 2, stdout: '' });
    const twice = await sandbox.run(['audit', '--actor', 'a', '--actor', 'b']);
    expect(twice).toMatchObject({ code: 2, stdout: '' });
    expect(twice.stderr).toContain('--actor is given twice; separate several values by commas');
    for (const [option, ...more] of [['--action'], ['--action', '--json'], ['-n', '-3']] as const) {
      const lacking = await sandbox.run(['audit', option, ...more]);
      expect(lacking).toEqual({
        code: 2,
        stdout: '',
        stderr: `steep-repl: ${option} lacks its value\n  hint: steep-repl audit --help\n`,
      });
    }
    expect(await sandbox.run([])).toMatchObject({ code: 2, stdout: '' });
    expect(await sandbox.run(['--help'])).toMatchObject({ code: 0, stderr: '' });
    expect(await sandbox.run(['run', '--help'])).toMatchObject({ code: 0, stderr: '' });
    expect(await sandbox.run(['--version'])).toMatchObject({ code: 0, stderr: '' });
  });

  test('ends quietly when the reader of its output goes away', () => {
    const script = `'${executable}' init-extension --print | head -n 1 >/dev/null`;
    expect(Bun.spawnSync(['bash', '-o', 'pipefail', '-c', script]).stderr.toString()).toBe('');
  });
});
