/** The command line: finds the command by its words, loads only its file, and turns what it returns into an exit code. */
import { parseArgs as parseStrictly, type ParseArgsOptionsConfig } from 'node:util';
import { type ArgsDef, parseArgs, renderUsage } from 'citty';
import { stripANSI } from 'bun';
import { messageOf, SteepError } from '../lib/errors.ts';
import type { Command } from './command.ts';
import { commands, hiddenCommands } from './commands.ts';
import { EXIT, exitCodeOf, printError, printText } from './output.ts';
import { version } from './version-info.ts';

/** Runs one command line and sets the exit code of the process. */
export async function runCli(argv: string[]): Promise<void> {
  process.exitCode = await dispatch(argv);
}

async function dispatch(argv: string[]): Promise<number> {
  try {
    if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V'))
      return await dispatch(['version']);
    const wordCount = argv.findIndex((word) => word.startsWith('-'));
    const words = wordCount === -1 ? argv : argv.slice(0, wordCount);
    const known = { ...hiddenCommands, ...commands };
    const name = [words.slice(0, 2).join(' '), words[0] ?? ''].find((candidate) => candidate in known);
    const entry = name === undefined ? undefined : known[name];
    if (name === undefined || entry === undefined) return help(words, argv);
    const { command } = await entry.load();
    return await runOne(name, command, argv.slice(name.split(' ').length));
  } catch (error) {
    const ours = SteepError.from(error);
    printError(ours);
    return exitCodeOf(ours);
  }
}

async function runOne(name: string, command: Command, rawArgs: string[]): Promise<number> {
  if (rawArgs.includes('--help') || rawArgs.includes('-h')) {
    const meta = { name: `steep-repl ${name}`, description: commands[name]?.about ?? '' };
    printText(await renderUsage({ args: withLongAliases(command.args), meta }));
    return EXIT.ok;
  }
  refuseUnknown(name, rawArgs, command.args);
  return (await command.run(parse(name, rawArgs, command.args))) ?? EXIT.ok;
}

/** For citty's help, which puts one hyphen before every alias. */
function withLongAliases(definitions: ArgsDef): ArgsDef {
  const shown = ([key, definition]: [string, ArgsDef[string]]): [string, ArgsDef[string]] =>
    'alias' in definition && typeof definition.alias === 'string' && definition.alias.length > 1
      ? [key, { ...definition, alias: `-${definition.alias}` }]
      : [key, definition];
  return Object.fromEntries(Object.entries(definitions).map(shown));
}

function parse(name: string, rawArgs: string[], definitions: ArgsDef): ReturnType<typeof parseArgs> {
  try {
    return parseArgs(rawArgs, definitions);
  } catch (error) {
    throw usageError(name, stripANSI(messageOf(error)));
  }
}

/** citty lets unknown options and surplus words pass; a mistyped `--yes` must not. */
function refuseUnknown(name: string, rawArgs: string[], definitions: ArgsDef): void {
  const options: ParseArgsOptionsConfig = {};
  let positionals = 0;
  for (const [key, definition] of Object.entries(definitions)) {
    if (definition.type === 'positional') {
      positionals += 1;
      continue;
    }
    const type = definition.type === 'boolean' ? 'boolean' : 'string';
    const aliases = 'alias' in definition ? [definition.alias ?? []].flat() : [];
    options[key] = { type };
    for (const alias of aliases) {
      if (alias.length === 1) options[key].short = alias;
      else options[alias] = { type };
    }
  }
  const parsed = parseOrRefuse(name, rawArgs, options);
  const surplus = parsed.positionals[positionals];
  if (surplus !== undefined) throw usageError(name, `unexpected argument '${surplus}'`);
  const given = new Set<string>();
  for (const token of parsed.tokens) {
    if (token.kind !== 'option' || token.value === undefined) continue;
    // citty keeps the last one only.
    if (given.has(token.name))
      throw usageError(name, `--${token.name} is given twice; separate several values by commas`);
    given.add(token.name);
  }
}

function parseOrRefuse(name: string, args: string[], options: ParseArgsOptionsConfig) {
  try {
    return parseStrictly({
      args,
      options,
      allowPositionals: true,
      allowNegative: true,
      strict: true,
      tokens: true,
    });
  } catch (error) {
    const message = messageOf(error).split(/\. |\n/)[0] ?? '';
    const [, option] = /^Option '(\S+?)(?: .*)?' argument (?:is ambiguous|missing)/.exec(message) ?? [];
    throw usageError(name, option === undefined ? message : `${option} lacks its value`);
  }
}

function usageError(name: string, message: string): SteepError {
  return new SteepError('INVALID_REQUEST', message, { hint: `steep-repl ${name} --help` });
}

/** The list of commands, or of those that begin with the given word; exit 2 unless help was what was asked for. */
function help(words: string[], argv: string[]): number {
  const asked = argv.includes('--help') || argv.includes('-h') || words[0] === 'help';
  const group = words[0] === 'help' ? words[1] : words[0];
  const shown = Object.entries(commands).filter(
    ([name]) => group === undefined || name.startsWith(`${group} `),
  );
  if (group !== undefined && shown.length === 0)
    throw new SteepError('INVALID_REQUEST', `unknown command '${words.join(' ')}'`, {
      hint: 'steep-repl --help lists the commands',
    });
  if (!asked && argv.length > 0 && words.length !== 1)
    throw new SteepError('INVALID_REQUEST', `unknown command '${argv.join(' ')}'`, {
      hint: 'steep-repl --help lists the commands',
    });
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  const lines = shown.map(([name, { about }]) => `  ${name.padEnd(width)}${about}`);
  printText(
    [
      `steep-repl ${version}: active-active PostgreSQL 18`,
      '',
      `Usage: steep-repl ${group ?? '<command>'}${group === undefined ? '' : ' <command>'} [options]`,
      '',
      ...lines,
      '',
      'steep-repl <command> --help shows the options of one.',
    ].join('\n'),
    asked ? 'stdout' : 'stderr',
  );
  return asked ? EXIT.ok : EXIT.usage;
}
