/** `npm run check`: format, lint, types, unused code. The architecture and generated docs are unit tests. */
const tools: Record<string, string[]> = {
  format: ['oxfmt', '--check', '.'],
  lint: ['oxlint', '--type-aware', '--deny-warnings'],
  types: ['tsc', '--noEmit'],
  unused: ['knip'],
};

const results = await Promise.all(
  Object.entries(tools).map(async ([name, command]) => {
    const child = Bun.spawn(['bun', 'x', '--no-install', ...command], { stdout: 'pipe', stderr: 'pipe' });
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
