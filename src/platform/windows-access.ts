/** The steps of `install` that say who may do what with files: administrators all, the service what it needs. */
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { messageOf, SteepError } from '../lib/errors.ts';
import type { ServiceOptions, Step } from './service.ts';
import { letsRead, ownerOf, ownSid, rightsOf, setRights } from './windows-security.ts';

/** A step whose state cannot be seen is done again: all of them may be. */
export function step(title: string, isDone: () => boolean, run: () => void): Step {
  return {
    title,
    isDone() {
      try {
        return isDone();
      } catch {
        return false;
      }
    },
    run,
  };
}

/** `folder`: where the configuration of the machine lies; `sid`: the service's account. */
export function accessSteps(options: ServiceOptions, folder: string, sid: string): Step[] {
  const { config, executable, keyFile, reads, stateDir } = options;
  const files = [...new Set([config, ...(keyFile ? [keyFile] : []), ...reads])];
  const inside = files.filter((file) => file.toLowerCase().startsWith(`${folder.toLowerCase()}\\`));
  const outside = [executable, ...files].filter((file) => !inside.includes(file));
  return [
    folderStep(folder),
    privateStep(folder, 'OICI', sid, 'RX'),
    ...inside.filter((file) => existsSync(file)).map((file) => privateStep(file, '', sid, 'RX')),
    ...caKeys(inside).map((file) => privateStep(file, '', 'SY', 'RX')),
    folderStep(stateDir),
    privateStep(stateDir, 'OICI', sid, 'M'),
    ...outside.map((file) => readStep(file, sid)),
  ];
}

/** The CA's key, which `tls init` puts beside the certificates: no daemon reads it. */
function caKeys(files: string[]): string[] {
  const folders = new Set(files.map((file) => path.win32.dirname(file)));
  return [...folders].map((folder) => path.win32.join(folder, 'ca.key')).filter((file) => existsSync(file));
}

/** Everybody may make a folder in %PROGRAMDATA%: what an administrator did not write is not run by a service. */
export function refuseForeign(config: string): void {
  const owner = ownerOf(config);
  if (['BA', 'SY', 'LA', 'DA', ownSid()].includes(owner)) return;
  throw new SteepError('PERMISSION_DENIED', `${config} belongs to ${owner}, who could change it`, {
    hint: `look at what it says, then, as administrator:  icacls "${config}" /setowner *S-1-5-32-544`,
  });
}

const RIGHTS = { RX: '0x1200a9', M: '0x1301bf' } as const;

/** Leaves a file or folder to the system and administrators, who own it, and some rights to the service. */
function privateStep(target: string, inherited: '' | 'OICI', sid: string, rights: keyof typeof RIGHTS): Step {
  const grants = [
    { sid: 'SY', rights: 'FA', icacls: '*S-1-5-18', letter: 'F' },
    { sid: 'BA', rights: 'FA', icacls: '*S-1-5-32-544', letter: 'F' },
    { sid, rights: RIGHTS[rights], icacls: `*${sid}`, letter: rights },
  ].slice(0, sid === 'SY' ? 2 : 3);
  const rules = `D:PAI${grants.map((grant) => `(A;${inherited};${grant.rights};;;${grant.sid})`).join('')}`;
  const flags = inherited === '' ? '' : '(OI)(CI)';
  const words = grants.map(({ icacls, letter }) => `${icacls}:${flags}${letter}`).join(' ');
  // Whoever made it could always change its rights, had he remained its owner.
  const owner = `icacls "${target}" /setowner *S-1-5-32-544`;
  return step(
    `${owner} && icacls "${target}" /inheritance:r /grant:r ${words}`,
    () => ownerOf(target) === 'BA' && rightsOf(target) === rules,
    () => setRights(target, `O:BA${rules}`),
  );
}

function folderStep(folder: string): Step {
  const make = (): void => {
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new SteepError('PERMISSION_DENIED', `cannot make ${folder}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  return step(`mkdir "${folder}"`, () => existsSync(folder), make);
}

/** What lies elsewhere keeps its rights, and lets the service read besides. */
function readStep(file: string, sid: string): Step {
  return step(
    `icacls "${file}" /grant *${sid}:RX`,
    () => !existsSync(file) || sid === 'SY' || letsRead(rightsOf(file), sid),
    () => setRights(file, `${rightsOf(file)}(A;;${RIGHTS.RX};;;${sid})`),
  );
}
