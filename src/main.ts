import { runCli } from './cli/index.ts';

// `void`, not a top-level await: with one pending, an uncaught exception would not end the process.
void runCli(process.argv.slice(2));
