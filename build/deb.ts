/** Makes a .deb, with Debian's dpkg-deb. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ABOUT, type PackageOptions, packageVersion, scripts, writeTree } from './package-tree.ts';
import { run } from './run.ts';

const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };

/** Returns the name of the file. */
export function buildDeb(options: PackageOptions): string {
  const version = packageVersion(options.version);
  const architecture = ARCHITECTURES[options.arch];
  const file = `steep-repl_${version}_${architecture}.deb`;
  const work = mkdtempSync(path.join(options.folder, '.deb-'));
  try {
    chmodSync(work, 0o755); // it becomes the mode of /
    writeTree(work, options);
    const control = path.join(work, 'DEBIAN');
    mkdirSync(control, { mode: 0o755 });
    writeFileSync(path.join(control, 'control'), controlFile(version, architecture));
    for (const [name, text] of Object.entries(maintainerScripts))
      writeFileSync(path.join(control, name), `#!/bin/sh\nset -e\n${text}\n`, { mode: 0o755 });
    // Not xz: ten times as long for a tenth less. Debian 12 and Ubuntu 18.04 know zstd.
    run(
      ['dpkg-deb', '--root-owner-group', '-Zzstd', '-z3', '--build', work, path.join(options.folder, file)],
      {
        SOURCE_DATE_EPOCH: String(options.date.getTime() / 1000),
      },
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return file;
}

function controlFile(version: string, architecture: string): string {
  const [title, ...rest] = ABOUT.split(': ');
  return `Package: steep-repl
Version: ${version}
Architecture: ${architecture}
Maintainer: The authors of steep-repl <steep-repl@localhost>
Section: database
Priority: optional
Depends: libc6, passwd
Suggests: postgresql-18
Description: active-active PostgreSQL 18
 ${title}:
 ${rest.join(': ')}.
`;
}

const maintainerScripts = {
  postinst: `if [ "$1" = configure ]; then
${scripts.installed}
if [ -n "$2" ]; then
${scripts.upgraded}
fi
fi`,
  prerm: `if [ "$1" = remove ]; then
${scripts.beforeRemoval}
fi`,
  postrm: `case $1 in
remove)
${scripts.removed}
;;
purge)
${scripts.purged}
;;
esac`,
};
