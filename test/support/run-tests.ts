/**
 * `bun test/support/run-tests.ts PLACE…`: runs the tests of those folders or files of test/, two folders at a time (or STEEP_TEST_WORKERS),
 * in a temporary folder of their own; prints `N passed, N failed`, and fails when a test left a process or a file, or
 * when an output shows a secret.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { secretIn } from './secrets.ts';

const root = path.join(import.meta.dir, '../..');
const places = process.argv.slice(2);
if (places.length === 0)
  throw new Error('name folders or files of test/, such as unit/config or unit/docs.test.ts');

// Short: Unix sockets below it must fit into 107 bytes.
const temporary = mkdtempSync(path.join(tmpdir(), 'st-'));
chmodSync(temporary, 0o711);
const marker = `STEEP_TEST_RUN=${temporary}`;
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => void endAll().then(() => process.exit(1)));

/** `integration` stands for each of its folders: they run side by side. */
const jobs = places.flatMap((place) => (place === 'integration' ? foldersOf('integration') : [place]));
const workers = Math.min(jobs.length, Number(process.env['STEEP_TEST_WORKERS'] ?? 2));
/** More than any single test may take. */
const STILL_MS = 240_000;
const total = { passed: 0, failed: 0 };
const failures: string[] = [];
await Promise.all(Array.from({ length: workers }, work));

const left = [
  ...leftProcesses().map(({ pid, command }) => `process ${pid}: ${command}`),
  ...leftFiles(), // before the processes end: some remove theirs then
];
if (left.length > 0) total.failed += 1;
await endAll();
// Once more at the end, where somebody who sees little of a long log looks first.
for (const failure of [...failures, ...left.map((what) => `left behind: ${what}`)])
  console.log(`FAILED ${failure}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

function foldersOf(place: string): string[] {
  // What takes longest comes first, or one of the two would wait for it in the end.
  const longest = 'cluster';
  return readdirSync(path.join(root, 'test', place))
    .toSorted((a, b) => Number(b === longest) - Number(a === longest))
    .map((name) => path.join(place, name))
    .filter((folder) => statSync(path.join(root, 'test', folder)).isDirectory());
}

async function work(): Promise<void> {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await run(job);
}

/** One `bun test`; what it prints comes in one piece. */
async function run(place: string, again = false): Promise<void> {
  const own = mkdtempSync(path.join(temporary, '/'));
  chmodSync(own, 0o711); // tests run clients as other users
  const began = performance.now();
  // A real server may be slow to start on a small machine; a hang must still end. Twenty daemons that start at once, as
  // bun would have it, keep a machine with two cores from everything else.
  const options = ['--timeout=180000', '--max-concurrency=4'];
  const child = Bun.spawn(['bun', 'test', ...options, `./${path.join('test', place)}`], {
    cwd: root,
    env: { ...process.env, TMPDIR: own, STEEP_TEST_RUN: temporary, NO_COLOR: '1' },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  let spoke = performance.now();
  let stoodStill = false;
  const read = async (stream: ReadableStream<Uint8Array>): Promise<string> => {
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of stream) {
      text += decoder.decode(chunk, { stream: true });
      spoke = performance.now();
    }
    return text;
  };
  // Seen once: bun waits for ever, for nothing, past every limit of a test.
  const guard = setInterval(() => {
    if (performance.now() - spoke < STILL_MS) return;
    stoodStill = true;
    child.kill('SIGKILL');
  }, 1000);
  const [out, err, status] = await Promise.all([read(child.stdout), read(child.stderr), child.exited]);
  clearInterval(guard);
  if (stoodStill && !again) {
    console.log(`-- ${place}: bun test stood still for ${STILL_MS / 1000} s; once more`);
    for (const { pid } of leftProcesses(own)) end(pid, 'SIGKILL');
    rmSync(own, { recursive: true, force: true, maxRetries: 10, retryDelay: 500 });
    return await run(place, true);
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${out}${err}-- ${place}: exit ${status} after ${seconds} s`);
  const passed = Number(/^\s*(\d+) pass$/m.exec(err)?.[1] ?? 0);
  const failed = Number(/^\s*(\d+) fail$/m.exec(err)?.[1] ?? 0);
  failures.push(...failuresIn(place, err));
  const shown = secretIn(out) ?? secretIn(err);
  if (shown !== undefined) {
    failures.push(`${place}: its output shows ${shown}`);
    total.failed += 1;
  }
  if (status !== 0 && failed === 0) failures.push(`${place}: exit ${status}`);
  total.passed += passed;
  total.failed += status !== 0 && failed === 0 ? 1 : failed;
}

/** Each failed test with the error that was printed above it. */
function failuresIn(place: string, output: string): string[] {
  const lines = output.split('\n');
  return lines.flatMap((line, index) => {
    // Bun lists them once more at the end, without their errors.
    if (!line.startsWith('(fail)') || lines.indexOf(line) !== index) return [];
    const before = lines.slice(0, index).findLastIndex((one) => /^\((pass|fail|skip)\)/.test(one));
    const said = lines
      .slice(before + 1, index)
      .filter((one) => /^(error|\w*Error):|^(Expected|Received)/.test(one));
    return [`${place} ${line} ${said.join(' | ').slice(0, 600)}`];
  });
}

/** Processes that carry the environment of this run: only tests and what they started do. */
function leftProcesses(sign = marker): { pid: number; command: string }[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(sign)) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return command === '' ? [] : [{ pid: Number(pid), command }]; // one that has ended is still listed for a moment
    } catch {
      return []; // not a process, not ours, or ended meanwhile
    }
  });
}

/** Politely at first: servers and daemons stop their own children and remove their files. */
async function endAll(): Promise<void> {
  for (const [signal, patience] of [
    ['SIGTERM', 15_000],
    ['SIGKILL', 5000],
  ] as const) {
    const deadline = performance.now() + patience;
    for (const { pid } of leftProcesses()) end(pid, signal);
    while (leftProcesses().length > 0 && performance.now() < deadline) await Bun.sleep(50);
  }
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, 'SIGCONT');
    process.kill(pid, signal);
  } catch {
    // it ended meanwhile
  }
}

/** Temporary files. */
function leftFiles(): string[] {
  return readdirSync(temporary).flatMap((job) =>
    readdirSync(path.join(temporary, job)).map((name) => `file ${path.join(temporary, job, name)}`),
  );
}
