/** The blocks of commands in a page, and where each is to be typed: a comment before it says so, unseen by readers. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dir, '../..');

export interface Block {
  /** `on`: typed in a shell; `sql`: in psql; `file`: saved; `npm`: in a clone of the sources, which CI does. */
  kind: 'on' | 'sql' | 'file' | 'npm';
  /** Machines, or for a file machines and its path. */
  where: string[];
  /** It may need a moment until all is well: repeated until it succeeds. */
  well: boolean;
  text: string;
}

/** In their order. Throws when a block of commands does not say where it belongs. */
export function blocksOf(page: string): Block[] {
  const text = readFileSync(path.join(root, page), 'utf8');
  return [...text.matchAll(/(?:<!-- (.*) -->\n)?```(sh|sql|yaml)\n([^]*?)```/g)].flatMap((match) => {
    const [, comment = '', language = '', body = ''] = match;
    const parsed = /^(on|sql|file|npm)(?:: ([^,]*))?(, well)?$/.exec(comment);
    if (parsed === null && language === 'yaml') return [];
    if (parsed === null) throw new Error(`${page}: nobody knows where to type:\n${body}`);
    const [, kind, where = '', well] = parsed;
    return [{ kind: kind as Block['kind'], where: where.split(' '), well: well !== undefined, text: body }];
  });
}

/** Those for a machine that has systemd. */
export function serviceBlocks(page: string): string[] {
  return blocksOf(page).flatMap(({ kind, where, text }) =>
    kind === 'on' && where[0] === 'systemd' ? [text] : [],
  );
}
