/**
 * `bun test/support/run-tests.ts FOLDER…`: runs the tests of those folders of test/ in a temporary folder of
 * their own, prints `N passed, N failed`, and fails when a test left a process or a file behind.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.join(import.meta.dir, '../..');
const folders = process.argv.slice(2);
if (folders.length === 0) throw new Error('which folders of test/ ?');

// Short: Unix sockets below it must fit into 107 bytes.
const temporary = mkdtempSync(path.join(tmpdir(), 'st-'));
const marker = `STEEP_TEST_RUN=${temporary}`;
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const paths = folders.map((folder) => path.join('test', folder));
// A real server may be slow to start on a small machine; a hang must still end.
const child = Bun.spawn(['bun', 'test', '--timeout=60000', ...paths.map((folder) => `./${folder}`)], {
  cwd: root,
  env: { ...process.env, TMPDIR: temporary, STEEP_TEST_RUN: temporary, NO_COLOR: '1' },
  stdin: 'ignore',
  stdout: 'pipe',
  stderr: 'pipe',
});

let output = '';
async function pass(from: ReadableStream<Uint8Array>, to: NodeJS.WriteStream): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of from) {
    const text = decoder.decode(chunk, { stream: true });
    output += text;
    to.write(text);
  }
}
const [, , status] = await Promise.all([
  pass(child.stdout, process.stdout),
  pass(child.stderr, process.stderr),
  child.exited,
]);

const passed = Number(/^\s*(\d+) pass$/m.exec(output)?.[1] ?? 0);
let failed = Number(/^\s*(\d+) fail$/m.exec(output)?.[1] ?? 0);
const left = [...leftProcesses(), ...leftFiles()];
for (const what of left) console.log(`left behind: ${what}`);
if (left.length > 0) failed += 1;
if (status !== 0 && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** Processes that still carry the environment of this run. */
function leftProcesses(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(marker)) return [];
      return [`process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`];
    } catch {
      return []; // not a process, not ours, or ended meanwhile
    }
  });
}

/** Temporary files, except what the tests share for the whole run and this runner removes. */
function leftFiles(): string[] {
  return readdirSync(temporary)
    .filter((name) => !name.startsWith('steep-pg-template-'))
    .map((name) => `file ${path.join(temporary, name)}`);
}
