/** Makes an .rpm, with rpmbuild (Debian's package rpm has it too). */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ABOUT, type PackageOptions, packageVersion, scripts, writeTree } from './package-tree.ts';
import { run } from './run.ts';

const ARCHITECTURES = { x64: 'x86_64', arm64: 'aarch64' };

/** Returns the name of the file. */
export function buildRpm(options: PackageOptions): string {
  const version = packageVersion(options.version);
  const architecture = ARCHITECTURES[options.arch];
  const file = `steep-repl-${version}-1.${architecture}.rpm`;
  const work = mkdtempSync(path.join(options.folder, '.rpm-'));
  try {
    const tree = path.join(work, 'tree');
    mkdirSync(tree);
    const files = writeTree(tree, options);
    const spec = path.join(work, 'steep-repl.spec');
    writeFileSync(spec, specFile(version, tree, files));
    run(['rpmbuild', '-bb', '--quiet', '--target', architecture, '--define', `_topdir ${work}/build`, spec], {
      SOURCE_DATE_EPOCH: String(options.date.getTime() / 1000),
    });
    copyFileSync(path.join(work, 'build/RPMS', architecture, file), path.join(options.folder, file));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return file;
}

function specFile(version: string, tree: string, files: readonly string[]): string {
  return `# The executable is ready: nothing is to be stripped, searched for libraries or compiled.
%global __os_install_post %{nil}
%global debug_package %{nil}
%global _build_id_links none
%global _binary_payload w3.zstdio
# The same commit, the same bytes.
%global _buildhost localhost
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
Name: steep-repl
Version: ${version}
Release: 1
Summary: Active-active PostgreSQL 18
License: MIT
Requires: glibc
Requires: /usr/sbin/useradd
AutoReqProv: no
%description
${ABOUT}.
%install
cp -a ${tree}/. %{buildroot}/
%post
${scripts.installed}
if [ "$1" -gt 1 ]; then
${scripts.upgraded}
fi
%preun
if [ "$1" = 0 ]; then
${scripts.beforeRemoval}
fi
%postun
if [ "$1" = 0 ]; then
${scripts.removed}
fi
%files
${files.map((file) => `%attr(${file === '/usr/bin/steep-repl' ? '0755' : '0644'}, root, root) ${file}`).join('\n')}
%dir /usr/share/doc/steep-repl
%dir /usr/share/doc/steep-repl/examples
`;
}
