/** The executable for Windows: what it looks like, and what its command line says without a daemon. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ICON_SIZES, iconBitmap } from '../../build/icon.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { inRepository, Windows } from '../support/windows.ts';

let windows: Windows;
beforeAll(() => {
  windows = new Windows();
});
afterAll(async () => await windows[Symbol.asyncDispose]());

describe('the file', () => {
  test('has our version, as Windows shows it, and our icon', async () => {
    const script = inRepository('test/support/windows-version.ts');
    const { stdout, stderr } = await windows.bun(
      script,
      'Z:\\w\\steep-repl.exe',
      'ProductName',
      'FileVersion',
    );
    expect(stdout || stderr).toBe(`steep-repl\n${packageJson.version}.0\n`);
    const bytes = readFileSync(path.join(windows.folder, 'steep-repl.exe'));
    for (const size of ICON_SIZES) expect(bytes.includes(iconBitmap(size))).toBe(true);
  });
});

describe('the command line', () => {
  test('prints its version, and what it was built for', async () => {
    expect(await windows.steep('version')).toEqual({
      code: 0,
      stdout: `steep-repl ${packageJson.version}\n`,
      stderr: '',
    });
    expect((await windows.steep('version', '--json')).stdout).toContain('"platform": "win32-x64"');
  });

  test('ends with the code that says what is wrong', async () => {
    expect(await windows.steep('frobnicate')).toMatchObject({ code: 2, stdout: '' });
    expect(await windows.steep('run')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        String.raw`looked for C:\users\root\AppData\Roaming\steep\config.yaml and C:\ProgramData\steep\config.yaml`,
      ),
    });
    expect(await windows.steep('status')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(String.raw`no daemon answers at \\.\pipe\steep-repl`),
    });
  });

  test('takes no settings from the folder where it is started', async () => {
    writeFileSync(path.join(windows.folder, '.env'), 'STEEP_REPL_CONFIG=C:\\from\\dot\\env\n');
    const { stdout } = await windows.steep('config', 'path', '--json');
    expect(stdout).not.toContain('dot');
  });

  test('finds the configuration of the user before that of the machine, and state where it belongs', async () => {
    windows.writeConfig({ node_id: 'of-machine', role: 'witness' });
    const machine = JSON.parse((await windows.steep('config', 'show', '--json')).stdout) as Shown;
    expect(machine).toMatchObject({ file: String.raw`C:\ProgramData\steep\config.yaml`, scope: 'system' });
    expect(valueOf(machine, 'state_dir')).toBe(String.raw`C:\ProgramData\steep\state\of-machine`);
    expect(valueOf(machine, 'grpc.tls.cert_file')).toBe(String.raw`C:\ProgramData\steep\certs\node.crt`);

    const own = path.join(windows.drive, 'users/root/AppData/Roaming/steep');
    mkdirSync(own, { recursive: true });
    writeFileSync(path.join(own, 'config.yaml'), 'repl: { node_id: of-user, role: witness }\r\n');
    const user = JSON.parse((await windows.steep('config', 'show', '--json')).stdout) as Shown;
    expect(user.file).toBe(String.raw`C:\users\root\AppData\Roaming\steep\config.yaml`);
    const given = await windows.run(['steep-repl.exe', 'config', 'show', '--json'], {
      env: {
        STEEP_REPL_CONFIG: String.raw`C:\ProgramData\steep\config.yaml`,
        STEEP_REPL_NODE_NAME: 'Fenster',
      },
    });
    expect(valueOf(JSON.parse(given.stdout) as Shown, 'node_name')).toBe('Fenster');
  });

  test('names the line and column of a mistake', async () => {
    writeFileSync(path.join(windows.folder, 'wrong.yaml'), 'repl:\r\n  node_id: a\r\n  priority: 700\r\n');
    const { code, stderr } = await windows.steep('config', 'check', '--config', String.raw`Z:\w\wrong.yaml`);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(String.raw`Z:\w\wrong.yaml:3:3: priority: 700 is not`),
    });
  });

  test('writes a starter file for the machine when an administrator asks for one', async () => {
    const file = path.join(windows.programData, 'fresh.yaml');
    const args = ['--config', String.raw`C:\ProgramData\steep\fresh.yaml`];
    expect(await windows.steep('config', 'init', ...args)).toMatchObject({ code: 0 });
    expect(existsSync(file)).toBe(true);
    expect(await windows.steep('config', 'show', ...args)).toMatchObject({ code: 0, stderr: '' });
  });
});

interface Shown {
  file: string;
  scope: string;
  values: { key: string; value: unknown }[];
}

function valueOf({ values }: Shown, key: string): unknown {
  return values.find((entry) => entry.key === key)?.value;
}
