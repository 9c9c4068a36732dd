import { isThere, lookupOrder } from '../../config/locate.ts';
import { thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { configArg, EXIT, jsonArg, printJson, printTable } from '../output.ts';

export const command = defineCommand({
  args: { config: configArg, json: jsonArg },
  /** Exit 2 if no file would be found. JSON: `file` (null: none), `places[]` each `{from, file, exists, used}`. */
  run(args) {
    const order = lookupOrder({ path: args.config, env: process.env, platform: thisPlatform() });
    const isNamed = (from: string): boolean => from === '--config' || from === 'STEEP_REPL_CONFIG';
    const looked = order.map(({ from, file }) => ({
      from,
      file,
      exists: file !== undefined && isThere(file),
    }));
    const chosen = looked.find(({ from, file, exists }) => file !== undefined && (exists || isNamed(from)));
    const found = chosen?.exists === true;
    const places = looked.map((place) => ({ ...place, file: place.file ?? null, used: place === chosen }));
    if (args.json) printJson({ file: found ? chosen.file : null, places });
    else
      printTable(
        ['', 'LOOKED UP', 'FILE', 'STATE'],
        places.map(({ from, file, exists, used }, i) => [
          String(i + 1),
          isNamed(from) ? from : `${from} folder`,
          file ?? '-',
          stateOf({ given: file !== null, exists, used }),
        ]),
      );
    return found ? EXIT.ok : EXIT.usage;
  },
});

function stateOf({ given, exists, used }: { given: boolean; exists: boolean; used: boolean }): string {
  if (!given) return 'not given';
  if (used) return exists ? 'used' : 'used, but not there';
  return exists ? 'there, not used' : 'not there';
}
