/** The system user of the service: what it is given so that it can read its configuration, and how it is taken back. */
import { chmodSync, chownSync, lchownSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { SteepError } from '../lib/errors.ts';
import { groupOfUser, userId } from './libc.ts';
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
  const ours = (file: string): boolean =>
    belongsTo('root', file) || (before !== undefined && belongsTo(before, file));
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
    ...own.map((each) => giveFolder(each, user, ours)),
  ];
}

function belongsTo(user: string, file: string): boolean {
  const uid = userId(user);
  return uid !== undefined && lstatSync(file, { throwIfNoEntry: false })?.uid === uid;
}

function letGroupRead(file: string, user: string): Step[] {
  const mode = modeOf(file) ?? 0;
  if ((mode & 0o004) !== 0) return []; // anybody may
  return [
    {
      title: `chgrp ${user} ${quoted(file)}`,
      isDone: () => statSync(file).gid === idsOf(user)?.gid,
      run: () => chownSync(file, 0, idsOrThrow(user).gid),
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
      chownSync(file, uid, gid);
    },
  };
}

/** With all in it that is root's or was the user's before; nobody else's, should the folder be shared. */
function giveFolder({ folder, mode }: OwnFolder, user: string, ours: (file: string) => boolean): Step {
  const toGive = (): string[] => {
    const uid = idsOf(user)?.uid;
    return [...tree(folder)].filter((file) => lstatSync(file).uid !== uid && ours(file));
  };
  return {
    title: `mkdir -p ${quoted(folder)} && chown -R ${user}: ${quoted(folder)}`,
    isDone: () => modeOf(folder) !== undefined && toGive().length === 0,
    run() {
      if (mkdirSync(folder, { recursive: true }) !== undefined) chmodSync(folder, mode);
      const { uid, gid } = idsOrThrow(user);
      // Not what a link points to.
      for (const file of toGive()) lchownSync(file, uid, gid);
    },
  };
}

/** What belongs to the user below these folders goes back to root, before the user goes. */
export function takeBack(user: string, folders: readonly string[]): Step[] {
  return folders.map((folder) => {
    const theirs = (): string[] => {
      const ids = idsOf(user);
      return [...tree(folder)].filter((file) => {
        const { uid, gid } = lstatSync(file);
        return uid === ids?.uid || gid === ids?.gid;
      });
    };
    return {
      title: `chown root: what belongs to ${user} in ${folder}`,
      isDone: () => theirs().length === 0,
      run: () => {
        for (const file of theirs()) lchownSync(file, 0, 0);
      },
    };
  });
}

/** The folder and all below it; nothing if it is not there. */
function* tree(folder: string): Generator<string> {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (!found) return;
  yield folder;
  if (!found.isDirectory()) return;
  for (const name of readdirSync(folder)) yield* tree(path.join(folder, name));
}
