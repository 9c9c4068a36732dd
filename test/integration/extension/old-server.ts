/**
 * A private copy of an old PostgreSQL's folders that has the extension's files, since only 18 can be told
 * where else to look for them. Everything but the executables is symlinks.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { nativeDir, POSTGRES_17 } from '../../support/postgres.ts';
import { extensionDir } from './support.ts';

/** Where bin/, lib/ and share/ of an installation are, and where a copy must have them: PostgreSQL finds its
 * share folder by the way from its executable. */
interface Layout {
  bin: string;
  lib: string;
  share: string;
  copied: { bin: string; lib: string; share: string };
}

const debian15 = '/usr/lib/postgresql/15';
export const missing15 = existsSync(path.join(debian15, 'bin/initdb'))
  ? undefined
  : `no PostgreSQL 15 in ${debian15}: apt-get install postgresql-15`;
export const missing17 =
  process.platform === 'linux' && process.arch === 'x64'
    ? undefined
    : 'PostgreSQL 17 comes for Linux x64 only';

function layout(version: 15 | 17): Layout {
  if (version === 15) {
    return {
      bin: path.join(debian15, 'bin'),
      lib: path.join(debian15, 'lib'),
      share: '/usr/share/postgresql/15',
      copied: { bin: 'lib/postgresql/15/bin', lib: 'lib/postgresql/15/lib', share: 'share/postgresql/15' },
    };
  }
  const native = nativeDir(POSTGRES_17);
  return {
    bin: path.join(native, 'bin'),
    lib: path.join(native, 'lib'),
    share: path.join(native, 'share/postgresql'),
    copied: { bin: 'bin', lib: 'lib', share: 'share/postgresql' },
  };
}

/** Makes the copy in `dir`; returns the folder that TestPostgres takes as `native`. */
export function oldServer(version: 15 | 17, dir: string): string {
  const { bin, lib, share, copied } = layout(version);
  const at = (folder: string) => path.join(dir, folder);
  mkdirSync(at(copied.bin), { recursive: true });
  for (const name of ['postgres', 'initdb']) cpSync(path.join(bin, name), path.join(at(copied.bin), name));
  symlinkSync(lib, at(copied.lib));
  const extensions = path.join(at(copied.share), 'extension');
  mkdirSync(extensions, { recursive: true });
  for (const [from, to] of [
    [share, at(copied.share)],
    [path.join(share, 'extension'), extensions],
  ] as const) {
    for (const name of readdirSync(from)) {
      if (name !== 'extension') symlinkSync(path.join(from, name), path.join(to, name));
    }
  }
  cpSync(extensionDir, extensions, { recursive: true });
  return path.dirname(at(copied.bin));
}
