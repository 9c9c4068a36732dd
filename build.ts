/** `bun run build`: the executable of this host in dist/. */
import { rmSync } from 'node:fs';
import path from 'node:path';

const name = process.platform === 'win32' ? 'steep-repl.exe' : 'steep-repl';
const outfile = path.join(import.meta.dir, 'dist', name);
rmSync(outfile, { force: true });

const result = await Bun.build({
  entrypoints: [path.join(import.meta.dir, 'src/main.ts')],
  // Lazy imports only pay when each command has a chunk of its own; bytecode needs ESM, or the result is broken.
  splitting: true,
  format: 'esm',
  bytecode: true,
  minify: true,
  sourcemap: 'none',
  compile: {
    outfile,
    // A privileged daemon must not run code or take settings from the folder where it is started.
    autoloadDotenv: false,
    autoloadBunfig: false,
    autoloadTsconfig: false,
    autoloadPackageJson: false,
    execArgv: ['--disallow-code-generation-from-strings=strict'],
  },
});
for (const message of result.logs) console.error(message);
if (!result.success) process.exit(1);

// `bytecode` without what it needs has printed an error, exited 0 and left a broken executable: try it.
const tried = Bun.spawnSync([outfile, 'version'], { env: {} });
if (tried.exitCode !== 0) {
  console.error(`the executable does not run: ${tried.stderr.toString()}`);
  process.exit(1);
}
console.log(`${outfile}: ${tried.stdout.toString().trim()}, ${Math.round(Bun.file(outfile).size / 1e6)} MB`);
