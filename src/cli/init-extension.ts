import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { loadConfig } from '../config/load.ts';
import { awayFrom } from '../db/errors.ts';
import { compareVersions, schemaScript, schemaVersion } from '../db/extension-files.ts';
import { examine, grantDaemon, installExtension, installSchema, type ServerFacts } from '../db/install.ts';
import { Session } from '../db/session.ts';
import { describeTarget, type Target, targetOf } from '../db/target.ts';
import { SteepError } from '../lib/errors.ts';
import { thisPlatform } from '../platform/index.ts';
import { defineCommand } from './command.ts';
import { configArg, jsonArg, printJson, printText } from './output.ts';
import { placeFiles, sharedirOf } from './place-files.ts';

interface Placement {
  'pg-config'?: string | undefined;
  sharedir?: string | undefined;
  dir?: string | undefined;
  files: boolean;
}

export const command = defineCommand({
  args: {
    config: configArg,
    'pg-config': {
      type: 'string',
      description: 'Write the files for the installation of this pg_config',
      valueHint: 'PATH',
    },
    sharedir: {
      type: 'string',
      description: 'Write the files into DIR/extension, DIR being PostgreSQL’s SHAREDIR',
      valueHint: 'DIR',
    },
    dir: {
      type: 'string',
      description: 'Write the files into DIR/extension, for extension_control_path',
      valueHint: 'DIR',
    },
    files: {
      type: 'boolean',
      default: true,
      negativeDescription: 'Make an ordinary schema: for servers whose disk is out of reach',
    },
    print: { type: 'boolean', description: 'Print the SQL of that schema, and do nothing' },
    grant: { type: 'string', description: 'Give ROLE what the daemon needs', valueHint: 'ROLE' },
    json: jsonArg,
  },
  async run(args) {
    if (args.print) return printText(schemaScript(undefined));
    refuseContradictions(args);
    const wrote = placeWhereTold(args);
    const { config } = loadConfig({ path: args.config, env: process.env, platform: thisPlatform() });
    const target = targetOf(config);
    await using session = await connect(target);
    const facts = await examine(session);
    if (args.files && lacksFiles(facts)) wrote.push(...placeWhereTheServerLooks(args, facts, target));
    const install = args.files ? installExtension : installSchema;
    const outcome = await install(session, target, facts);
    if (args.grant !== undefined) await grantDaemon(session, target, args.grant);

    const form = args.files ? 'extension' : 'schema';
    if (args.json) {
      printJson({
        outcome,
        form,
        version: schemaVersion,
        server: describeTarget(target),
        files: wrote,
        granted: args.grant ?? null,
      });
      return undefined;
    }
    for (const file of wrote) printText(`wrote ${file}`, 'stderr');
    const done = { created: 'created', updated: 'updated to', unchanged: 'is there already, nothing to do:' }[
      outcome
    ];
    printText(`${form} steep_repl in ${describeTarget(target)}: ${done} ${schemaVersion}`, 'stderr');
    if (args.grant !== undefined) printText(`granted to role ${args.grant} what the daemon needs`, 'stderr');
    return undefined;
  },
});

function refuseContradictions(args: Placement): void {
  const places = (['pg-config', 'sharedir', 'dir'] as const).filter((name) => args[name] !== undefined);
  if (places.length > 1 || (places.length === 1 && !args.files))
    throw new SteepError('INVALID_REQUEST', 'use one of --pg-config, --sharedir, --dir and --no-files');
}

function placeWhereTold(args: Placement): string[] {
  if (args['pg-config'] !== undefined) return placeFiles(sharedirOf(args['pg-config']));
  const folder = args.sharedir ?? args.dir;
  return folder === undefined ? [] : placeFiles(folder);
}

/** CREATE or ALTER EXTENSION is needed, and the server has no files for it, or old ones. */
function lacksFiles({ installed, available }: ServerFacts): boolean {
  const needed =
    installed.kind === 'nothing' ||
    (installed.kind === 'extension' && compareVersions(installed.version, schemaVersion) < 0);
  return needed && (available === null || compareVersions(available, schemaVersion) < 0);
}

/** Without options: into the server's own folder, if it is on this host and we may; else say what can be done. */
function placeWhereTheServerLooks(args: Placement, facts: ServerFacts, target: Target): string[] {
  const { sharedir, controlPath } = facts;
  const local = target.host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(target.host);
  if (args.dir === undefined && local && sharedir !== null && isWritable(path.join(sharedir, 'extension')))
    return placeFiles(sharedir);
  const hint =
    args.dir === undefined
      ? 'on the server’s host:  steep-repl init-extension --pg-config PATH;  or --dir DIR;  or --no-files on a managed server'
      : howToFind(path.resolve(args.dir), controlPath);
  throw new SteepError(
    'FAILED',
    `PostgreSQL at ${describeTarget(target)} does not find the files of steep_repl`,
    { hint },
  );
}

/** How the server comes to look into a folder too: what it looks through already stays. */
function howToFind(folder: string, current: string | null): string {
  const set = (value: string): string =>
    `ALTER SYSTEM SET extension_control_path = '${value.replaceAll("'", "''")}';  SELECT pg_reload_conf();`;
  if (current === null)
    return `in psql, as a superuser, with what  SHOW extension_control_path  says in place of …:  ${set(`${folder}${path.delimiter}…`)}`;
  // An empty one is the server's own folder.
  const places = current === '' ? ['$system'] : current.split(path.delimiter);
  const others = places.filter((place) => place !== folder);
  return `in psql, as a superuser:  ${set([folder, ...others].join(path.delimiter))}`;
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function connect(target: Target): Promise<Session> {
  try {
    return await Session.open(target);
  } catch (error) {
    const { reason, message, hint } = awayFrom(error, target);
    const code = reason === 'refused' || reason === 'no_rights' ? 'PERMISSION_DENIED' : 'CANNOT_CONNECT';
    throw new SteepError(code, `PostgreSQL at ${describeTarget(target)}: ${message}`, { hint, cause: error });
  }
}
