/** Reads the configuration file as text, after making sure that nobody else could have written it. */
import { readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { codeOf, messageOf } from '../lib/errors.ts';
import type { Platform } from '../platform/index.ts';
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
  const real = realpathSync(file);
  const paths = new Set([file, path.dirname(file), path.dirname(real)]);
  return [...paths].flatMap((each) => {
    const open = each === file ? platform.writableByOthers(each) : platform.replaceableByOthers(each);
    if (open === undefined) return [];
    const what =
      each === file
        ? 'other users may write this file'
        : 'other users may write this folder of the configuration';
    return [
      {
        file: each,
        message: `${what} (${open.reason}), and what it says is run`,
        hint: `run: ${open.remedy}`,
      },
    ];
  });
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
