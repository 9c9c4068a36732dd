/** What can be checked without PostgreSQL and without the daemon: files, rights, programs, ports. */
import { accessSync, constants, readFileSync, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { unsafeFolders } from '../config/file.ts';
import type { Config } from '../config/schema.ts';
import { openToOthers } from '../daemon/instance.ts';
import { codeOf, messageOf, SteepError } from '../lib/errors.ts';
import { formatHostPort } from '../lib/host-port.ts';
import type { Platform } from '../platform/index.ts';
import { EXPIRY_WARNING_MS, spanOf } from '../tls/expiry.ts';
import { loadTlsMaterial } from '../tls/material.ts';
import type { Check, Finding, Status, Subject } from './checks.ts';

export const fileChecks: readonly Check[] = [
  { name: 'file', run: checkFile },
  { name: 'state_dir', run: checkStateDir },
  { name: 'disk', run: checkDisk },
  { name: 'certificates', run: checkCertificates },
  { name: 'etcd', run: checkEtcdFiles },
  { name: 'postgresql files', run: checkPostgresqlFiles },
  { name: 'password_command', run: checkPasswordCommand },
  { name: 'ports', run: checkPorts },
];

function checkFile({ loaded: { file, scope, config } }: Subject): Finding[] {
  if (config.enabled) return [{ status: 'ok', message: `${file} (${scope})` }];
  return [
    { status: 'warn', message: `${file}: enabled is false`, hint: 'run exits at once until it is true' },
  ];
}

function checkStateDir({ loaded: { config }, platform }: Subject): Finding[] {
  const folder = config.state_dir;
  const existing = nearestExisting(folder);
  if (existing !== folder) {
    const barrier = barrierTo(existing, constants.W_OK | constants.X_OK);
    if (barrier === undefined)
      return [{ status: 'ok', message: `${folder} will be made at the first start` }];
    return [
      {
        status: 'fail',
        message: `${folder} cannot be made: ${existing}: ${barrier}`,
        hint: 'make it for the user of the daemon, or set state_dir',
      },
    ];
  }
  if (!statSync(folder).isDirectory())
    return [{ status: 'fail', message: `${folder} is no folder`, hint: 'set state_dir' }];
  const barrier = barrierTo(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  if (barrier !== undefined)
    return [{ status: 'fail', message: `${folder}: ${barrier}`, hint: 'run as the user of the daemon' }];
  const open = openToOthers(folder, platform);
  if (open !== undefined)
    return [
      { status: 'fail', message: `${folder}: others may write it (${open.reason})`, hint: open.remedy },
    ];
  return [{ status: 'ok', message: folder }];
}

const LITTLE_SPACE = 1024 ** 3;
const NO_SPACE = 50 * 1024 ** 2;

/** What is promised is written to state_dir first: a full disk stops votes and loses audit entries. */
function checkDisk({ loaded: { config } }: Subject): Finding[] {
  const folder = nearestExisting(config.state_dir);
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const message = `${Math.floor(free / 1024 ** 2)} MiB free for ${config.state_dir}`;
  if (free >= LITTLE_SPACE) return [{ status: 'ok', message }];
  return [{ status: free < NO_SPACE ? 'fail' : 'warn', message, hint: `make room:  df -h ${folder}` }];
}

function checkCertificates({ loaded: { config }, platform }: Subject): Finding[] {
  const { enabled, insecure, tls } = config.grpc;
  if (!enabled || insecure) return [];
  const files = [tls.cert_file, tls.key_file, tls.ca_file];
  const missing = files.filter((file) => !isThere(file));
  return [
    ...(missing.length === 0
      ? []
      : [
          {
            status: 'warn' as const,
            message: `not there: ${missing.join(', ')}`,
            hint: 'steep-repl tls init',
          },
        ]),
    ...files.filter(isThere).map(readable),
    ...(isThere(tls.key_file) ? privateKey(tls.key_file, platform, 'fail') : []),
    ...(isThere(tls.ca_file) ? replaceable(tls.ca_file, platform) : []),
    ...optional(tls.crl_file),
    ...(missing.length === 0 ? material(config, platform) : []),
  ];
}

/** Whether the files fit each other and are valid now, as the daemon judges them. */
function material({ grpc: { tls } }: Config, platform: Platform): Finding[] {
  try {
    const { crl_file: crl, ...files } = tls;
    const found = loadTlsMaterial(crl === undefined ? files : { ...files, crl_file: crl }, platform);
    if ('missing' in found) return [];
    const { subject, notAfter } = found.certificate;
    const left = notAfter.getTime() - Date.now();
    const message = `${subject} is valid for ${spanOf(left)} more`;
    if (left >= EXPIRY_WARNING_MS) return [{ status: 'ok', message }];
    return [{ status: 'warn', message, hint: 'steep-repl tls init renews it; no restart is needed' }];
  } catch (thrown) {
    const { message, hint } = SteepError.from(thrown);
    return [{ status: 'fail', message, ...(hint === undefined ? {} : { hint }) }];
  }
}

function checkEtcdFiles({ loaded: { config }, platform }: Subject): Finding[] {
  const { store, etcd } = config.election;
  if (store !== 'etcd') return [];
  return [...optional(etcd?.ca_file), ...optional(etcd?.cert_file), ...optional(etcd?.key_file, platform)];
}

function checkPostgresqlFiles({ loaded: { config }, platform }: Subject): Finding[] {
  if (config.role === 'witness') return [];
  const { sslrootcert, sslcert, sslkey } = config.postgresql;
  return [
    ...optional(sslrootcert === 'system' ? undefined : sslrootcert),
    ...optional(sslcert),
    ...optional(sslkey, platform),
  ];
}

function checkPasswordCommand({ loaded: { config }, env }: Subject): Finding[] {
  const program = config.postgresql.password_command?.[0];
  if (program === undefined || config.role === 'witness') return [];
  const found = Bun.which(program, { PATH: env['PATH'] ?? '' });
  if (found !== null) return [{ status: 'ok', message: found }];
  const hint = 'give its full path, and make it executable for the user of the daemon';
  return [{ status: 'fail', message: `${program} is not there or not executable`, hint }];
}

async function checkPorts({ loaded: { config }, platform }: Subject): Promise<Finding[]> {
  const { grpc, http, state_dir: stateDir } = config;
  const daemon = pidOfDaemon(stateDir);
  return await Promise.all(
    Object.entries({ grpc, http })
      .filter(([, { enabled }]) => enabled)
      .map(([key, { bind, port }]) => checkPort(key, bind, port, platform, daemon)),
  );
}

/** The process that holds the lock of `state_dir`, or held it last. */
function pidOfDaemon(stateDir: string): string | undefined {
  try {
    return readFileSync(path.join(stateDir, 'lock'), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Listens for a moment: nothing else tells whether it would work. */
async function checkPort(
  key: string,
  bind: string,
  port: number,
  platform: Platform,
  daemon: string | undefined,
): Promise<Finding> {
  const address = `${key} ${formatHostPort({ host: bind, port })}`;
  const failure = await new Promise<Error | undefined>((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host: bind, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
  if (failure === undefined) return { status: 'ok', message: `${address} is free` };
  switch (codeOf(failure)) {
    case 'EADDRINUSE': {
      const holder = platform.listenerOf(port);
      if (holder !== undefined && holder.endsWith(`(pid ${daemon})`))
        return { status: 'ok', message: `${address} is held by this node's daemon, pid ${daemon}` };
      return {
        status: 'fail',
        message: `${address} is held by ${holder ?? 'another process'}`,
        hint: `stop it, or set ${key}.port`,
      };
    }
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return {
        status: 'fail',
        message: `${address}: this machine has no such address`,
        hint: `set ${key}.bind`,
      };
    case 'EACCES':
      return {
        status: 'fail',
        message: `${address}: permission denied`,
        hint: `set ${key}.port to 1024 or above`,
      };
    default:
      return { status: 'fail', message: `${address}: ${messageOf(failure)}` };
  }
}

/** A file that need not be configured but must then be there; with a platform given it is a private key. */
function optional(file: string | undefined, keyOn?: Platform): Finding[] {
  if (file === undefined) return [];
  if (!isThere(file)) return [{ status: 'fail', message: `${file} is not there`, hint: 'correct the path' }];
  // Only a warning: libpq lets a group read a key, and distributions use that.
  return [readable(file), ...(keyOn === undefined ? [] : privateKey(file, keyOn, 'warn'))];
}

function readable(file: string): Finding {
  if (!statSync(file).isFile())
    return { status: 'fail', message: `${file} is no file`, hint: 'correct the path' };
  const barrier = barrierTo(file, constants.R_OK);
  if (barrier === undefined) return { status: 'ok', message: file };
  return { status: 'fail', message: `${file}: ${barrier}`, hint: 'let the user of the daemon read it' };
}

function privateKey(file: string, platform: Platform, status: Status): Finding[] {
  const exposed = platform.readableByOthers(file);
  if (exposed === undefined) return [];
  const { reason, remedy } = exposed;
  return [{ status, message: `${file}: others may read this key (${reason})`, hint: remedy }];
}

/** Of the CA: whoever can replace it chooses who is a peer. */
function replaceable(file: string, platform: Platform): Finding[] {
  const own = platform.writableByOthers(file);
  return [
    ...(own ? [{ what: file, ...own }] : []),
    ...unsafeFolders(file, platform).map(({ folder, ...exposure }) => ({ what: folder, ...exposure })),
  ].map(({ what, reason, remedy }) => ({
    status: 'fail',
    message: `${what}: others may write it (${reason}), and with a CA of theirs come in as any node`,
    hint: remedy,
  }));
}

function isThere(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}

function barrierTo(file: string, access: number): string | undefined {
  try {
    accessSync(file, access);
    return undefined;
  } catch (error) {
    return codeOf(error) === 'EACCES' ? 'permission denied' : messageOf(error);
  }
}

function nearestExisting(folder: string): string {
  const parent = path.dirname(folder);
  return parent === folder || isThere(folder) ? folder : nearestExisting(parent);
}
