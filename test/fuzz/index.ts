/**
 * `bun run fuzz [TARGET…] [--minutes N] [--seed S] [--cases N]`: throws damaged and hostile input at the doors and the
 * files of the program, the targets side by side in processes of their own; N minutes in all. Prints the seed, for a
 * failure the smallest input that shows it, and `N passed, N failed`.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { targets } from './targets.ts';

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    cases: { type: 'string', default: String(Number.MAX_SAFE_INTEGER) },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(targets);
const unknown = names.find((name) => !(name in targets));
if (unknown !== undefined)
  throw new Error(`there is no target '${unknown}', only ${Object.keys(targets).join(', ')}`);

/** A case that takes longer is a hang, whatever the machine. */
const HANG_MS = 120_000;
const workers = Math.min(2, availableParallelism(), names.length);
const seconds = (Number(values.minutes) * 60 * workers) / names.length;

const temporary = mkdtempSync(path.join(tmpdir(), 'fz-'));
chmodSync(temporary, 0o711);
const running = new Set<number>();
process.on('exit', () => {
  for (const pid of running) end(pid);
  rmSync(temporary, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

console.log(`${names.join(', ')}: seed ${values.seed}, ${seconds.toFixed(0)} s each`);
const results: boolean[] = [];
const waiting = [...names];
await Promise.all(
  Array.from({ length: workers }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
      results.push(await run(name));
  }),
);
const failed = results.filter((good) => !good).length;
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function end(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

async function run(name: string): Promise<boolean> {
  const progress = path.join(temporary, `${name}.progress`);
  writeFileSync(progress, '');
  const child = Bun.spawn(
    [
      process.execPath,
      path.join(import.meta.dir, 'run.ts'),
      name,
      values.seed,
      String(seconds),
      values.cases,
      progress,
    ],
    // In a group of its own, so that its daemons can be ended with it.
    {
      env: { ...process.env, TMPDIR: temporary, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    },
  );
  running.add(child.pid);
  let hung = '';
  const watch = setInterval(() => {
    if (Date.now() - statSync(progress).mtimeMs < HANG_MS) return;
    hung = `hangs; again:  bun run fuzz ${readFileSync(progress, 'utf8')}\n`;
    end(child.pid);
  }, 1000);
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearInterval(watch);
  end(child.pid); // daemons that it could not end
  running.delete(child.pid);
  const good = status === 0;
  process.stdout.write(good ? out : `${out}${err}${hung}FAILED fuzz ${name}: exit ${status}\n`);
  return good;
}
