/** The system user of the service: what it is given so that it can read its configuration, and how it is taken back. */
import { fchownSync, lstatSync, mkdirSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { SteepError } from '../lib/errors.ts';
import { groupOfUser, userId } from './libc.ts';
import { changeMode, changeOwner, hasOneName, openTree } from './owned-files.ts';
import type { ServiceOptions, Step } from './service.ts';
import { modeOf, modeStep, quoted } from './steps.ts';

/** A folder of the service's user; the mode is that of a new one. */
export interface OwnFolder {
  folder: string;
  mode: number;
}

interface Ids {
  uid: number;
  gid: number;
}

function idsOf(user: string): Ids | undefined {
  const uid = userId(user);
  const gid = groupOfUser(user);
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function idsOrThrow(user: string): Ids {
  const ids = idsOf(user);
  if (ids) return ids;
  throw new SteepError('FAILED', `there is no user '${user}'`, {
    hint: 'make it first, or leave out --run-as',
  });
}

/**
 * The steps that let `user` read the configuration and have the key and the state. Only what root, or the service's user
 * `before`, owns in the folder of the configuration is touched: what lies elsewhere has its rights for a reason.
 */
export function grants(
  { user, before }: { user: string; before: string | undefined },
  own: readonly OwnFolder[],
  options: ServiceOptions,
): Step[] {
  if (user === 'root') return [];
  const isOurs = ({ uid }: Stats): boolean => uid === 0 || (before !== undefined && uid === userId(before));
  // What a link leads to lies elsewhere.
  const ours = (file: string): boolean => {
    const found = lstatSync(file, { throwIfNoEntry: false });
    return found !== undefined && !found.isSymbolicLink() && hasOneName(found) && isOurs(found);
  };
  const { config, keyFile, reads } = options;
  const folder = path.dirname(config);
  const inside = reads.filter((file) => file !== keyFile && file.startsWith(`${folder}/`));
  const folders = [
    ...new Set([config, ...inside, ...(keyFile ? [keyFile] : [])].map((file) => path.dirname(file))),
  ];
  return [
    ...folders
      .filter((dir) => (dir === folder || dir.startsWith(`${folder}/`)) && ours(dir))
      // Only to pass: what lies in it has modes of its own.
      .map((dir) => modeStep(dir, (modeOf(dir) ?? 0) | 0o011)),
    ...[config, ...inside].filter(ours).flatMap((file) => letGroupRead(file, user)),
    ...(keyFile?.startsWith(`${folder}/`) && ours(keyFile) ? [giveFile(keyFile, user)] : []),
    ...own.map((each) => giveFolder(each, user, isOurs)),
  ];
}

function letGroupRead(file: string, user: string): Step[] {
  const mode = modeOf(file) ?? 0;
  if ((mode & 0o004) !== 0) return []; // anybody may
  return [
    {
      title: `chgrp ${user} ${quoted(file)}`,
      isDone: () => statSync(file).gid === idsOf(user)?.gid,
      run: () => changeOwner(file, 0, idsOrThrow(user).gid),
    },
    modeStep(file, mode | 0o040),
  ];
}

function giveFile(file: string, user: string): Step {
  return {
    title: `chown ${user}: ${quoted(file)}`,
    isDone: () => statSync(file).uid === idsOf(user)?.uid,
    run() {
      const { uid, gid } = idsOrThrow(user);
      changeOwner(file, uid, gid);
    },
  };
}

/**
 * With all in it that is root's or was the user's before; nobody else's, should the folder be shared. The user may write
 * there, and could do so while this goes on.
 */
function giveFolder({ folder, mode }: OwnFolder, user: string, isOurs: (found: Stats) => boolean): Step {
  const isToGive = (found: Stats): boolean =>
    found.uid !== idsOf(user)?.uid && isOurs(found) && hasOneName(found);
  return {
    title: `mkdir -p ${quoted(folder)} && chown -R ${user}: ${quoted(folder)}`,
    isDone: () => modeOf(folder) !== undefined && !openTree(folder).some(({ found }) => isToGive(found)),
    run() {
      if (mkdirSync(folder, { recursive: true }) !== undefined) changeMode(folder, mode);
      const { uid, gid } = idsOrThrow(user);
      for (const { fd, found } of openTree(folder)) if (isToGive(found)) fchownSync(fd, uid, gid);
    },
  };
}

/** What belongs to the user below these folders goes back to root, before the user goes. */
export function takeBack(user: string, folders: readonly string[]): Step[] {
  const ids = idsOf(user);
  const isTheirs = ({ uid, gid }: Stats): boolean => uid === ids?.uid || gid === ids?.gid;
  return folders.map((folder) => ({
    title: `chown root: what belongs to ${user} in ${folder}`,
    isDone: () => !openTree(folder).some(({ found }) => isTheirs(found)),
    run() {
      for (const { fd, found } of openTree(folder)) if (isTheirs(found)) fchownSync(fd, 0, 0);
    },
  }));
}
