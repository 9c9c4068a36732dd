/**
 * `npm run check`: format, lint, types, unused code, the wire contract, and the rules of the house. What is done is
 * printed at once; the slow ones take half a minute on a small machine.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const scratch = mkdtempSync(path.join(tmpdir(), 'check-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** What `npm run generate` would write now. */
const generate = `buf generate proto --template proto/buf.gen.yaml -o ${scratch}`;

/** The unit tests that say where else a change has to be told of: in docs, shapes and tables. They take seconds. */
const house = ['architecture', 'docs', 'troubleshooting', 'operations/documents'].map(
  (name) => `./test/unit/${name}.test.ts`,
);

const tools: Record<string, string> = {
  format: 'oxfmt --check .',
  lint: 'oxlint --type-aware --deny-warnings',
  types: 'tsc --noEmit',
  unused: 'knip',
  'rules of the house': `bun test --only-failures --timeout=180000 ${house.join(' ')}`,
  'proto lint': 'buf lint proto',
  'proto breaking changes': 'buf breaking proto --against proto/published.binpb',
  'generated code': `${generate} && diff -r ${scratch}/src/gen src/gen`,
};

const results = await Promise.all(
  Object.entries(tools).map(async ([name, command]) => {
    const child = Bun.spawn(['sh', '-c', command], { stdout: 'pipe', stderr: 'pipe' });
    const [out, err, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}`);
    if (status !== 0) console.log(`${out}${err}`);
    return status;
  }),
);
process.exitCode = results.every((status) => status === 0) ? 0 : 1;
