/** Reads the configuration file as text, after making sure that nobody else could have written it. */
import { lstatSync, readFileSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { codeOf, messageOf } from '../lib/errors.ts';
import type { Exposure, Platform } from '../platform/index.ts';
import { ConfigError, type Problem } from './problems.ts';

/** Far above any real file; a mistaken one must not cost seconds. */
const MAX_BYTES = 256 * 1024;

/** The text, without byte order mark. Throws ConfigError. */
export function readConfigFile(file: string, platform: Platform): string {
  const stats = inspect(file);
  if (stats.isDirectory())
    throw refuse({
      file,
      message: 'is a folder',
      hint: `name the file in it, such as ${path.join(file, 'config.yaml')}`,
    });
  if (!stats.isFile()) throw refuse({ file, message: 'is not a regular file' });
  if (stats.size > MAX_BYTES)
    throw refuse({
      file,
      message: `has ${stats.size} bytes; a configuration has at most ${MAX_BYTES}`,
      hint: 'name the right file',
    });
  const unsafe = writableProblems(file, platform);
  if (unsafe.length > 0) throw new ConfigError(unsafe);
  return decode(file, read(file));
}

function refuse(problem: Problem): ConfigError {
  return new ConfigError([problem]);
}

function inspect(file: string): Stats {
  try {
    return statSync(file);
  } catch (error) {
    const dangling = codeOf(error) === 'ENOENT';
    throw refuse({
      file,
      message: dangling ? 'is a symlink that leads nowhere' : `cannot be looked at: ${messageOf(error)}`,
    });
  }
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw refuse({ file, message: `cannot be read: ${messageOf(error)}` });
    throw refuse({
      file,
      message: 'cannot be read: permission denied',
      hint: 'run as its owner, or give this user the right to read it',
    });
  }
}

/** `password_command` runs code, so whoever can change the file, or swap it for another, could run theirs as us. */
function writableProblems(file: string, platform: Platform): Problem[] {
  const own = platform.writableByOthers(file);
  const ofFile = own && {
    file,
    message: `other users may write this file (${own.reason}), and what it says is run`,
    hint: `run: ${own.remedy}`,
  };
  const ofFolders = unsafeFolders(file, platform).map(({ folder, reason, remedy, above }) => ({
    file: folder,
    message: `other users may write this folder ${above ? 'above' : 'of'} the configuration (${reason}), and what it says is run`,
    hint: above ? `keep the configuration elsewhere, or run: ${remedy}` : `run: ${remedy}`,
  }));
  return [...(ofFile ? [ofFile] : []), ...ofFolders];
}

/** `above`: neither the file nor a symlink to it lies in it. */
export type UnsafeFolder = Exposure & { folder: string; above: boolean };

/** Folders in which others could swap something on the way to a file that need not be there yet; nearest first. */
export function unsafeFolders(file: string, platform: Platform): UnsafeFolder[] {
  return [...foldersTo(path.resolve(file))].flatMap(([folder, above]) => {
    const open = platform.replaceableByOthers(folder, above);
    return open === undefined ? [] : [{ ...open, folder, above }];
  });
}

/** All folders that are passed, also by way of symlinks, and whether they only lead to one in which the file lies. */
function foldersTo(file: string, above = false, found = new Map<string, boolean>()): Map<string, boolean> {
  const folder = path.dirname(file);
  const target = lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(file);
  if (folder === file) return found;
  const known = found.get(folder);
  found.set(folder, above && (known ?? true));
  if (target) foldersTo(path.resolve(realpathSync(folder), target), above, found);
  if (known === undefined) foldersTo(folder, true, found);
  return found;
}

function decode(file: string, bytes: Buffer): string {
  const utf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (utf16) throw refuse({ file, message: 'is UTF-16', hint: 'save it as UTF-8' });
  if (bytes.includes(0)) throw refuse({ file, message: 'is not a text file', hint: 'name the right file' });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refuse({
      file,
      line: firstInvalidLine(bytes),
      message: 'is not valid UTF-8',
      hint: 'save it as UTF-8',
    });
  }
}

/** A line feed is never part of a longer UTF-8 sequence, so lines can be tried one by one. */
function firstInvalidLine(bytes: Buffer): number {
  let start = 0;
  for (let line = 1; ; line += 1) {
    const end = bytes.indexOf(0x0a, start);
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(
        bytes.subarray(start, end === -1 ? bytes.length : end),
      );
    } catch {
      return line;
    }
    if (end === -1) return line;
    start = end + 1;
  }
}
