import { type LoadedConfig, loadConfig, type Origin } from '../../config/load.ts';
import { valuesInForce } from '../../config/values.ts';
import { thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { configArg, jsonArg, printJson, printTable, printText } from '../output.ts';

export const command = defineCommand({
  args: { config: configArg, json: jsonArg },
  /** JSON: `file`, `scope`, `values[]` each `{key, value, source, file?, line?, column?, variable?}`. */
  run(args) {
    const loaded = loadConfig({ path: args.config, env: process.env, platform: thisPlatform() });
    if (args.json) printJson(asJson(loaded));
    else print(loaded);
  },
});

function asJson(loaded: LoadedConfig): unknown {
  const values = valuesInForce(loaded).map(({ key, value, origin }) => ({ key, value, ...origin }));
  return { file: loaded.file, scope: loaded.scope, values };
}

function print(loaded: LoadedConfig): void {
  printText(`${loaded.file} (${loaded.scope})\n`);
  printTable(
    ['KEY', 'VALUE', 'FROM'],
    valuesInForce(loaded).map(({ key, value, origin }) => [key, asText(value), place(origin)]),
  );
}

function asText(value: unknown): string {
  if (value === null) return '-';
  if (Array.isArray(value)) return value.length === 0 ? '[]' : value.join(' ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function place(origin: Origin): string {
  if (origin.source === 'file') return `${origin.file}:${origin.line}`;
  return origin.source === 'variable' ? origin.variable : 'default';
}
