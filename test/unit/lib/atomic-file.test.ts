import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeFileAtomic } from '../../../src/lib/atomic-file.ts';

const source = path.resolve(import.meta.dir, '../../../src/lib/atomic-file.ts');
const folder = mkdtempSync(path.join(tmpdir(), 'atomic-'));
const file = path.join(folder, 'file');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { recursive: true });
});

const OLD = 'old '.repeat(50_000);
const NEW = 'new '.repeat(50_000);
const modeOf = (name: string): number => statSync(path.join(folder, name)).mode & 0o7777;

/**
 * Writes NEW over OLD in a process that is killed with -9 before its `step`th call of the file system; the
 * names of the calls it made, the fatal one last.
 */
function writeAndDie(step: number): { calls: string[]; killed: boolean } {
  const script = `
    const fs = require('node:fs');
    const calls = [];
    for (const name of ['rmSync', 'openSync', 'fchmodSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync']) {
      const real = fs[name];
      fs[name] = (...args) => {
        calls.push(name);
        if (calls.length === ${step}) {
          process.stdout.write(calls.join(' '));
          process.kill(process.pid, 'SIGKILL');
        }
        return real.call(fs, ...args);
      };
    }
    const { writeFileAtomic } = await import(${JSON.stringify(source)});
    writeFileAtomic(${JSON.stringify(file)}, 'new '.repeat(50_000));`;
  const { stdout, signalCode, exitCode } = Bun.spawnSync([process.execPath, '-e', script], {
    stderr: 'inherit',
  });
  if (signalCode !== 'SIGKILL' && exitCode !== 0) throw new Error(`the child failed: ${exitCode}`);
  return { calls: stdout.toString().split(' '), killed: signalCode === 'SIGKILL' };
}

describe('a file that is replaced', () => {
  test('is old or new after kill -9 before any step, and never half', () => {
    const seen: string[] = [];
    for (let step = 1; ; step++) {
      expect(step).toBeLessThan(30);
      writeFileSync(file, OLD);
      const { calls, killed } = writeAndDie(step);
      const content = readFileSync(file, 'utf8');
      if (!killed) {
        expect(content).toBe(NEW);
        break;
      }
      seen.push(calls.at(-1)!);
      expect(content === OLD || content === NEW).toBe(true);
      // Nothing is new before it is durable: written, fsynced and closed.
      if (!calls.slice(0, -1).includes('renameSync')) expect(content).toBe(OLD);
    }
    expect(seen.join(' ')).toMatch(
      /^rmSync openSync fchmodSync (writeSync )+fsyncSync closeSync renameSync openSync fsyncSync closeSync$/,
    );
  });

  test('has its mode from the first byte', () => {
    writeFileSync(file, OLD, { mode: 0o644 });
    writeAndDie(3); // before the first byte
    const temporary = readdirSync(folder).find((name) => name !== 'file')!;
    expect(modeOf(temporary)).toBe(0o600);
  });

  test.each([0o600, 0o640, 0o644])('has exactly the mode asked for (%o), whatever the umask', (mode) => {
    for (const umask of [0o022, 0o077, 0o000]) {
      const before = process.umask(umask);
      try {
        writeFileAtomic(file, 'x', mode);
      } finally {
        process.umask(before);
      }
      expect(modeOf('file')).toBe(mode);
    }
  });

  test('leaves nothing beside it', () => {
    writeFileAtomic(file, OLD);
    writeFileAtomic(file, Buffer.from(NEW));
    expect(readdirSync(folder)).toEqual(['file']);
    expect(readFileSync(file, 'utf8')).toBe(NEW);
  });

  test('may be empty', () => {
    writeFileAtomic(file, '');
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  test('is put in the place of a symbolic link, not where that leads', () => {
    const elsewhere = path.join(folder, 'elsewhere');
    writeFileSync(elsewhere, OLD);
    symlinkSync(elsewhere, file);
    writeFileAtomic(file, NEW);
    expect(readFileSync(elsewhere, 'utf8')).toBe(OLD);
    expect(readFileSync(file, 'utf8')).toBe(NEW);
  });

  test('is not written through a link that waits under the temporary name', () => {
    const elsewhere = path.join(folder, 'elsewhere');
    writeFileSync(elsewhere, OLD);
    symlinkSync(elsewhere, `${file}.${process.pid}.tmp`);
    writeFileAtomic(file, NEW);
    expect(readFileSync(elsewhere, 'utf8')).toBe(OLD);
  });

  test('stays as it was, with nothing beside it, when the new one does not fit on the disk', () => {
    writeFileSync(file, OLD);
    // A limit on the size of files acts as a full disk does: a part is written, then an error comes.
    const script = `
      const { writeFileAtomic } = await import(${JSON.stringify(source)});
      try { writeFileAtomic(${JSON.stringify(file)}, 'new '.repeat(50_000)); } catch (error) { console.log(error.code); }`;
    const { stdout } = Bun.spawnSync([
      'sh',
      '-c',
      'trap "" XFSZ; ulimit -f 64; exec "$@"',
      'sh',
      process.execPath,
      '-e',
      script,
    ]);
    expect(stdout.toString()).toBe('EFBIG\n');
    expect(readFileSync(file, 'utf8')).toBe(OLD);
    expect(readdirSync(folder)).toEqual(['file']);
  });

  test('is not made, and the error named, when its folder is gone', () => {
    expect(() => writeFileAtomic(path.join(folder, 'none/file'), NEW)).toThrow('ENOENT');
    expect(readdirSync(folder)).toEqual([]);
  });
});
