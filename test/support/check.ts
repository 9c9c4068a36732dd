/** `npm run check`: format, lint, types, unused code, the wire contract. The architecture is a unit test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const scratch = mkdtempSync(path.join(tmpdir(), 'check-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** What `npm run generate` would write now. */
const generate = `buf generate proto --template proto/buf.gen.yaml -o ${scratch}`;

const tools: Record<string, string> = {
  format: 'oxfmt --check .',
  lint: 'oxlint --type-aware --deny-warnings',
  types: 'tsc --noEmit',
  unused: 'knip',
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
    return { name, status, output: `${out}${err}` };
  }),
);
for (const { name, status, output } of results) {
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}`);
  if (status !== 0) console.log(output);
}
process.exitCode = results.every(({ status }) => status === 0) ? 0 : 1;
