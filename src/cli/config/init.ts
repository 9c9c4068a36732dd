import { chmodSync, chownSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { unsafeFolders } from '../../config/file.ts';
import { lookupOrder, isThere } from '../../config/locate.ts';
import { schema } from '../../config/schema.ts';
import { defaultNodeId, starterFile } from '../../config/starter.ts';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { codeOf, messageOf, SteepError } from '../../lib/errors.ts';
import { type Platform, thisPlatform } from '../../platform/index.ts';
import { defineCommand } from '../command.ts';
import { configArg, jsonArg, printJson, printText } from '../output.ts';

export const command = defineCommand({
  args: {
    config: { ...configArg, alias: 'path', description: 'File to write' },
    'node-id': {
      type: 'string',
      description: 'Id of this node (default: from the host name)',
      valueHint: 'ID',
    },
    force: { type: 'boolean', description: 'Replace a file that exists; the old one is kept as FILE.bak' },
    json: jsonArg,
  },
  /** JSON: `file`, `node_id`, `backup` (null: nothing was replaced). */
  run(args) {
    const platform = thisPlatform();
    const file = target(args.config, platform);
    const nodeId = nodeIdFrom(args['node-id']);
    const exists = isThere(file);
    if (exists && !args.force)
      throw new SteepError('CONFLICT', `${file} exists already`, {
        hint: 'edit it, or give --force: the whole file is replaced, sections of other programs too, and kept as .bak',
      });
    const backup = exists ? `${file}.bak` : null;
    write(file, backup, starterFile(nodeId), platform);
    if (args.json) return printJson({ file, node_id: nodeId, backup });
    printText(`wrote ${file} for node ${nodeId}${backup === null ? '' : `; the old one is ${backup}`}`);
    const used = lookupOrder({ env: process.env, platform }).find(
      (place) => place.file !== undefined && isThere(place.file),
    );
    if (used?.file !== file) printText(`use it with --config ${file} or STEEP_REPL_CONFIG=${file}`);
    printText('next: edit it, then run  steep-repl config check');
  },
});

/** Where a later start of the same user finds it: as named, else the machine's folder for root, else the user's. */
function target(option: string | undefined, platform: Platform): string {
  const [first, second, user, system] = lookupOrder({ path: option, env: process.env, platform });
  const usual = platform.currentUser().privileged ? system.file : (user.file ?? system.file);
  const file = first.file ?? second.file ?? usual;
  if (file === undefined)
    throw new SteepError('FAILED', 'no place for a configuration file', { hint: 'name one with --config' });
  return file;
}

function nodeIdFrom(option: string | undefined): string {
  if (option === undefined) return defaultNodeId();
  if (schema.shape.node_id.safeParse(option).success) return option;
  throw new SteepError('INVALID_REQUEST', `--node-id: ${JSON.stringify(option)} is no node id`, {
    hint: '1 to 63 letters, digits, dots, underscores and hyphens; the first a letter or digit',
  });
}

function write(file: string, backup: string | null, text: string, platform: Platform): void {
  const folder = path.dirname(file);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const [unsafe] = unsafeFolders(file, platform);
    if (unsafe !== undefined)
      throw new SteepError(
        'PERMISSION_DENIED',
        `${unsafe.folder}: other users may write this folder (${unsafe.reason}), so no configuration in it would be read`,
        { hint: unsafe.above ? `choose another place with --config, or:  ${unsafe.remedy}` : unsafe.remedy },
      );
    const before = backup === null ? undefined : statSync(file);
    // Into a new file of ours: under the name of the backup somebody else's may wait.
    if (backup !== null) writeFileAtomic(backup, readFileSync(file), 0o600);
    writeFileAtomic(file, text, 0o600);
    // The user of an installed service may read the old one.
    if (before && platform.currentUser().privileged) {
      chownSync(file, before.uid, before.gid);
      chmodSync(file, before.mode & 0o640);
    }
  } catch (error) {
    if (error instanceof SteepError) throw error;
    const code = codeOf(error);
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
      throw new SteepError('PERMISSION_DENIED', `cannot write ${file}: ${messageOf(error)}`, {
        cause: error,
        hint: 'choose a place with --config',
      });
    throw new SteepError('FAILED', `cannot write ${file}: ${messageOf(error)}`, { cause: error });
  }
}
