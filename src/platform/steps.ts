/** Steps of `install` and `uninstall`: the same data are printed by --dry-run and done. */
import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { changeMode } from './owned-files.ts';
import { runTool } from './tool.ts';
import type { Step } from './service.ts';

export function writeStep(file: string, content: string, mode = 0o644): Step {
  return {
    title: `write ${file} (mode ${octal(mode)})`,
    content,
    isDone: () => readable(file) === content && modeOf(file) === mode,
    run: () =>
      guarded(`cannot write ${file}`, () => {
        mkdirSync(path.dirname(file), { recursive: true });
        writeFileAtomic(file, content, mode);
      }),
  };
}

export function removeStep(file: string): Step {
  return {
    title: `rm ${file}`,
    // A folder of that name is none that we made.
    isDone: () => lstatSync(file, { throwIfNoEntry: false })?.isDirectory() ?? true,
    run: () => guarded(`cannot remove ${file}`, () => rmSync(file, { force: true })),
  };
}

export function modeStep(file: string, mode: number): Step {
  return {
    title: `chmod ${octal(mode)} ${quoted(file)}`,
    isDone: () => !existsSync(file) || modeOf(file) === mode,
    run: () => guarded(`cannot change the mode of ${file}`, () => changeMode(file, mode)),
  };
}

export function folderStep(folder: string, mode: number): Step {
  return {
    title: `mkdir -p -m ${octal(mode)} ${quoted(folder)}`,
    isDone: () => existsSync(folder),
    run: () =>
      guarded(`cannot make ${folder}`, () => {
        mkdirSync(folder, { recursive: true });
        changeMode(folder, mode);
      }),
  };
}

export function commandStep(
  command: readonly string[],
  isDone: () => boolean | Promise<boolean>,
  env: () => Record<string, string> = () => ({}),
): Step {
  return {
    title: command.map(quoted).join(' '),
    isDone,
    async run() {
      await runTool(command, env());
    },
  };
}

export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

export function modeOf(file: string): number | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  return found && found.mode & 0o7777;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function readable(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function guarded(what: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    const denied = ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '');
    throw new SteepError(denied ? 'PERMISSION_DENIED' : 'FAILED', `${what}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
