/** What a .deb or .rpm puts where, and what it does before and after. Unit and user are those of `steep-repl install`. */
import { chmodSync, copyFileSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { starterFile } from '../src/config/starter.ts';
import { quoted } from '../src/platform/steps.ts';
import { serviceUserCommand, STATE_BASE, unitText } from '../src/platform/systemd-unit.ts';
import { SERVICE_USER } from '../src/platform/unix-socket.ts';

export interface PackageOptions {
  /** For x64 or arm64, with glibc. */
  executable: string;
  arch: 'x64' | 'arm64';
  /** THIRD-PARTY-LICENSES.txt. */
  licenses: string;
  version: string;
  /** When the commit was made: every file is as old. */
  date: Date;
  /** Where the package goes. */
  folder: string;
}

export const ABOUT = packageJson.description;
const DOC = '/usr/share/doc/steep-repl';

/** Writes the tree below `root`; the paths of its files. */
export function writeTree(root: string, { executable, licenses, date }: PackageOptions): string[] {
  const files: string[] = [];
  const put = (file: string, mode: number, write: (to: string) => void): void => {
    const to = path.join(root, file);
    mkdirSync(path.dirname(to), { recursive: true, mode: 0o755 });
    write(to);
    chmodSync(to, mode);
    utimesSync(to, date, date);
    files.push(file);
  };
  put('/usr/bin/steep-repl', 0o755, (to) => copyFileSync(executable, to));
  put(`${DOC}/THIRD-PARTY-LICENSES.txt`, 0o644, (to) => copyFileSync(licenses, to));
  for (const name of ['LICENSE', 'CHANGELOG.md'])
    put(`${DOC}/${name === 'LICENSE' ? 'copyright' : name}`, 0o644, (to) =>
      copyFileSync(path.join(import.meta.dir, '..', name), to),
    );
  const texts: Record<string, string> = {
    '/usr/lib/systemd/system/steep-repl.service': unit(),
    [`${DOC}/examples/config.yaml`]: starterFile('node-a'),
    '/usr/share/bash-completion/completions/steep-repl': completion('bash'),
    '/usr/share/zsh/site-functions/_steep-repl': completion('zsh'),
    '/usr/share/fish/vendor_completions.d/steep-repl.fish': completion('fish'),
  };
  for (const [file, text] of Object.entries(texts)) put(file, 0o644, (to) => writeFileSync(to, text));
  return files;
}

/** As `install` writes it where nothing but the usual places is configured: it then finds it done. */
function unit(): string {
  const options = {
    executable: '/usr/bin/steep-repl',
    config: '/etc/steep/config.yaml',
    runAs: undefined,
    stateDir: STATE_BASE,
    answers: true,
    keyFile: undefined,
    reads: [],
    writes: [],
  };
  return unitText(options, 'system', SERVICE_USER);
}

function completion(shell: string): string {
  const main = path.join(import.meta.dir, '../src/main.ts');
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, 'completion', shell]);
  if (exitCode !== 0) throw new Error(`completion ${shell}: ${stderr.toString()}`);
  return stdout.toString();
}

const BOOTED = '[ -d /run/systemd/system ]';
const MADE_BY = 'steep-repl service, made by its package';
/** Not that of an executable that somebody put elsewhere and installed. */
const OURS = "systemctl cat steep-repl.service 2>/dev/null | grep -q '^ExecStart=/usr/bin/steep-repl '";

/** Shell for both kinds of package. None of it starts the daemon for the first time: it has no configuration yet. */
export const scripts = {
  installed: `getent passwd ${SERVICE_USER} >/dev/null ||
  ${serviceUserCommand(MADE_BY).map(quoted).join(' ')}
if ${BOOTED}; then systemctl daemon-reload; fi`,
  /** The new executable takes the old one's place where one runs. */
  upgraded: `if ${BOOTED} && ${OURS}; then systemctl try-restart steep-repl.service || true; fi`,
  /** Stops it, disables it, and takes away what `install` wrote besides. */
  beforeRemoval: `if ${BOOTED} && ${OURS}; then /usr/bin/steep-repl uninstall --yes >/dev/null || true; fi`,
  removed: `if ${BOOTED}; then systemctl daemon-reload; fi`,
  /** The configuration belongs to other programs of Steep as well, and stays; so does a user of somebody else's. */
  purged: `if getent passwd ${SERVICE_USER} | grep -q ':${MADE_BY}:'; then
  if [ -d /etc/steep ]; then
    find /etc/steep -user ${SERVICE_USER} -exec chown -h root {} +
    find /etc/steep -group ${SERVICE_USER} -exec chgrp -h root {} +
  fi
  userdel ${SERVICE_USER}
  rm -rf ${STATE_BASE}
fi`,
};

/** With `~` before what makes it older than the release: 1.0.0~rc.1. */
export function packageVersion(version: string): string {
  return version.replace('-', '~');
}
