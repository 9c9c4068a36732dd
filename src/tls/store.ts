/** Puts certificates and keys on disk. */
import { chownSync, mkdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import type { Platform } from '../platform/index.ts';
import { changeMode } from '../platform/owned-files.ts';
import { caKeyFile } from './authority.ts';
import type { Pair } from './issue.ts';

const PUBLIC = 0o644;
const PRIVATE = 0o600;

/** Who a file shall belong to. */
export interface Owner {
  uid: number;
  gid: number;
}

/** The owner of a file or folder; undefined if it is not there. */
export function ownerOf(file: string): Owner | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  return found && { uid: found.uid, gid: found.gid };
}

/** Makes the folder and those above it; an existing one keeps its mode, whatever the umask says about a new one. */
export function makeFolder(folder: string, mode: number): void {
  boundary(folder, () => {
    if (mkdirSync(folder, { recursive: true, mode }) !== undefined) changeMode(folder, mode);
  });
}

/** Throws PERMISSION_DENIED for a folder where others could put a CA of theirs in the place of ours. */
export function refuseSharedFolder(folder: string, platform: Pick<Platform, 'writableByOthers'>): void {
  const unsafe = platform.writableByOthers(folder);
  if (unsafe === undefined) return;
  throw new SteepError('PERMISSION_DENIED', `${folder}: others may write this folder (${unsafe.reason})`, {
    hint: unsafe.reason.includes('mode')
      ? `they could put their own CA there:  ${unsafe.remedy}`
      : 'they could put their own CA there: choose another folder',
  });
}

/** A new CA. The key comes first: a certificate without key would look like that of a foreign CA. */
export function writeAuthority(caFile: string, { cert, key }: Pair): void {
  const keyFile = caKeyFile(caFile);
  boundary(keyFile, () => writeFileAtomic(keyFile, key, PRIVATE));
  try {
    boundary(caFile, () => writeFileAtomic(caFile, cert, PUBLIC));
  } catch (error) {
    rmSync(keyFile, { force: true }); // it has signed nothing but itself
    throw error;
  }
}

/** A pair; `owner` gets the key, if we may give it away. */
export function writePair(files: { cert: string; key: string }, pair: Pair, owner?: Owner): void {
  boundary(files.key, () => {
    writeFileAtomic(files.key, pair.key, PRIVATE);
    if (owner !== undefined && owner.uid !== ownerOf(files.key)?.uid)
      chownSync(files.key, owner.uid, owner.gid);
  });
  boundary(files.cert, () => writeFileAtomic(files.cert, pair.cert, PUBLIC));
}

/** One public file. */
export function writePublic(file: string, content: string): void {
  boundary(file, () => writeFileAtomic(file, content, PUBLIC));
}

function boundary(file: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    const denied = ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '');
    throw new SteepError(
      denied ? 'PERMISSION_DENIED' : 'FAILED',
      `cannot write ${file}: ${messageOf(error)}`,
      {
        cause: error,
        hint: denied
          ? `run it as a user who may write ${path.dirname(file)}`
          : `look at ${path.dirname(file)}`,
      },
    );
  }
}
