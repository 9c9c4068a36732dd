/** The executables of `bun build.ts --all`, each as far as it runs here; those for Windows x64 are in test/windows. */
import { afterAll, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { currentCommit } from '../../build/commit.ts';
import { buildTarget } from '../../build/executable.ts';
import { ICON_SIZES, iconBitmap } from '../../build/icon.ts';
import { processorOf, signatureFault, signed } from '../../build/macho.ts';
import { type TargetName, targets } from '../../build/targets.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { freePort } from '../support/ports.ts';
import { dist, Emulated } from '../support/release.ts';

const LINUX = ['linux-x64', 'linux-arm64', 'linux-x64-musl', 'linux-arm64-musl'] as const;
const bytesOf = (target: TargetName): Buffer => readFileSync(path.join(dist, targets[target].file));

/** Certificates that the first one makes and all use. */
const made = mkdtempSync(path.join(tmpdir(), 'certs-'));
afterAll(() => rmSync(made, { recursive: true, force: true }));

describe.each(LINUX)('%s', (target) => {
  const arch = target.includes('arm64') ? 'arm64' : 'x64';

  test('says what it was built from and for', async () => {
    using emulated = new Emulated(target);
    const { stdout, stderr } = await emulated.run('version', '--json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      version: packageJson.version,
      commit: currentCommit().commit,
      target,
      bun: packageJson.devDependencies.bun,
      platform: `linux-${arch}`,
    });
  });

  test('runs a daemon with its doors, and stops it', async () => {
    using emulated = new Emulated(target);
    const [http, grpc] = [await freePort(), await freePort()];
    emulated.writeConfig({
      node_id: 'w1',
      role: 'witness',
      state_dir: 'state',
      ipc: { path: 'ipc.sock' },
      grpc: { bind: '127.0.0.1', port: grpc },
      http: { enabled: true, bind: '127.0.0.1', port: http },
      log: { format: 'json' },
    });
    if (target === 'linux-x64') {
      expect(await emulated.run('tls', 'init')).toMatchObject({ code: 0 });
      cpSync(path.join(emulated.folder, 'certs'), made, { recursive: true });
    } else cpSync(made, path.join(emulated.folder, 'certs'), { recursive: true });
    const daemon = emulated.start();
    try {
      await daemon.logged('ready', 60_000);
      expect(daemon.lines).toContainEqual(expect.objectContaining({ component: 'rpc', tls: true }));
      const health = await fetch(`http://127.0.0.1:${http}/health`);
      expect(await health.json()).toMatchObject({ components: { grpc: { healthy: true } } });
      expect(await daemon.stop()).toBe(0);
    } finally {
      await daemon.end();
    }
  });
});

describe.each(['darwin-x64', 'darwin-arm64'] as const)('%s', (target) => {
  test('is for that processor and signed ad hoc, each page of it', () => {
    const bytes = bytesOf(target);
    expect(processorOf(bytes)).toBe(target.replace('darwin-', ''));
    expect(signatureFault(bytes)).toBeUndefined();
    expect(bytes.includes('STEEP_SERVICE_SCOPE')).toBe(true); // our code is in it
  });

  test('does not pass for signed once a byte of it has changed', () => {
    const bytes = bytesOf(target);
    const middle = bytes.length >> 1;
    bytes[middle] = bytes[middle]! ^ 1;
    expect(signatureFault(bytes)).toBe(`page ${middle >> 12} is not what was signed`);
    expect(signatureFault(signed(bytes, 'steep-repl'))).toBeUndefined();
  });
});

describe.each(['windows-x64', 'windows-arm64'] as const)('%s', (target) => {
  test('is for that processor, with our version and icon', () => {
    const bytes = bytesOf(target);
    const machine = bytes.readUInt16LE(bytes.readUInt32LE(0x3c) + 4);
    expect(machine).toBe(target === 'windows-x64' ? 0x8664 : 0xaa64);
    // The structure with the numbers of the version; the texts beside it, each at a multiple of four bytes.
    const fixed = bytes.indexOf(Buffer.from([0xbd, 0x04, 0xef, 0xfe, 0, 0, 1, 0]));
    const [minor, major, , patch] = [8, 10, 12, 14].map((offset) => bytes.readUInt16LE(fixed + offset));
    expect(`${major}.${minor}.${patch}`).toBe(packageJson.version);
    expect(bytes.includes(Buffer.from('ProductName\0\0steep-repl\0', 'utf16le'))).toBe(true);
    for (const size of ICON_SIZES) expect(bytes.includes(iconBitmap(size))).toBe(true);
    expect(bytes.includes('STEEP_SERVICE_SCOPE')).toBe(true); // our code is in it
  });
});

describe('all', () => {
  test.each(['linux-x64', 'darwin-x64', 'windows-x64'] as const)(
    '%s comes out the same again, in another folder',
    async (target) => {
      const folder = mkdtempSync(path.join(tmpdir(), 'again-'));
      try {
        await buildTarget(folder, target, currentCommit().commit);
        const again = readFileSync(path.join(folder, targets[target].file));
        expect(again.equals(bytesOf(target))).toBe(true);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  test('have their sums in SHA256SUMS', () => {
    const sums = readFileSync(path.join(dist, 'SHA256SUMS'), 'utf8');
    for (const [name, { file }] of Object.entries(targets)) {
      const sum = createHash('sha256').update(bytesOf(name as TargetName));
      expect(sums).toContain(`${sum.digest('hex')}  ${file}\n`);
    }
  });
});
