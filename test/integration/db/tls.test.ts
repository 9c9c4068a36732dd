/** Every sslmode against every kind of server, as libpq means it. */
import { freePort } from '../../support/ports.ts';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { awayFrom } from '../../../src/db/errors.ts';
import { Session } from '../../../src/db/session.ts';
import type { Target } from '../../../src/db/target.ts';
import { type Certificate, CertificateAuthority, writePems } from '../../support/certificates.ts';
import { TestPostgres } from '../../support/postgres.ts';
import { targetFor } from './support.ts';

type Mode = Target['sslmode'];
const MODES: Mode[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'];
const VERIFIED: Mode[] = ['verify-ca', 'verify-full'];

const folder = mkdtempSync(path.join(tmpdir(), 'tls-'));
const homeBefore = process.env['HOME'];
let ca: CertificateAuthority;
let plain: TestPostgres;
let secure: TestPostgres;
let files: Record<
  'ca' | 'otherCa' | 'cert' | 'key' | 'strangerCert' | 'strangerKey' | 'empty' | 'nonsense',
  string
>;

async function serverOnTcp(settings: Record<string, string | number> = {}): Promise<TestPostgres> {
  return await TestPostgres.start({
    settings: { port: await freePort(), listen_addresses: '127.0.0.1', ...settings },
  });
}

/** Gives the server another certificate. */
async function present(certificate: Certificate): Promise<void> {
  writePems(secure.data, {
    'server.crt': certificate.cert,
    'server.key': certificate.key,
    'root.crt': ca.cert,
  });
  await secure.query('select pg_reload_conf()');
  await Bun.sleep(100);
}

beforeAll(async () => {
  // ~/.postgresql of whoever runs the tests must not count.
  process.env['HOME'] = folder;
  ca = await CertificateAuthority.create();
  const otherCa = await CertificateAuthority.create('another CA');
  const client = await ca.issue({ commonName: 'app' });
  const stranger = await otherCa.issue({ commonName: 'app' });
  files = writePems(path.join(folder, 'pems'), {
    ca: ca.cert,
    otherCa: otherCa.cert,
    cert: client.cert,
    key: client.key,
    strangerCert: stranger.cert,
    strangerKey: stranger.key,
    empty: '',
    nonsense: 'no certificate\n',
  });
  plain = await serverOnTcp();
  secure = TestPostgres.create({
    settings: { port: await freePort(), listen_addresses: '127.0.0.1', ssl: 'on', ssl_ca_file: 'root.crt' },
  });
  const server = await ca.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] });
  writePems(secure.data, { 'server.crt': server.cert, 'server.key': server.key, 'root.crt': ca.cert });
  await secure.start();
  await secure.query('create role app login; create role plainly login');
});
afterAll(async () => {
  process.env['HOME'] = homeBefore;
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** `tls`, `plain`, or the reason why there is no connection, with its message. */
async function connect(server: TestPostgres, changes: Partial<Target>): Promise<string> {
  const target = targetFor(server, { host: 'localhost', ...changes });
  try {
    await using session = await Session.open(target);
    const [row] = await session.query(
      (sql) => sql<{ ssl: boolean }[]>`select ssl from pg_stat_ssl where pid = pg_backend_pid()`,
    );
    return row!.ssl ? 'tls' : 'plain';
  } catch (error) {
    const { reason, message } = awayFrom(error, target);
    return `${reason}: ${message}`;
  }
}

/** What comes of it in a process with other environment variables. */
async function connectElsewhere(changes: Partial<Target>, env: Record<string, string>): Promise<string> {
  const source = path.resolve(import.meta.dir, '../../../src/db/session.ts');
  const script = `
    const { Session } = await import(${JSON.stringify(source)});
    const target = ${JSON.stringify(targetFor(secure, { host: 'localhost', ...changes }))};
    await Session.open(target).then(() => console.log('connected'), (error) => console.log(error.code));
    process.exit();`;
  const child = Bun.spawn([process.execPath, '-e', script], {
    env: { ...process.env, ...env },
    stderr: 'ignore',
  });
  return await new Response(child.stdout).text();
}

describe('a server without TLS', () => {
  test('is used plainly by disable and prefer, and not at all by the others', async () => {
    expect(await connect(plain, { sslmode: 'disable' })).toBe('plain');
    expect(await connect(plain, { sslmode: 'prefer' })).toBe('plain');
    for (const sslmode of ['require', 'verify-ca', 'verify-full'] as const)
      expect(await connect(plain, { sslmode, sslrootcert: files.ca })).toMatch(
        /^tls: the server at localhost:\d+ does not speak TLS$/,
      );
  });

  test('is used over its Unix socket whatever the mode, as libpq does', async () => {
    for (const server of [plain, secure])
      for (const sslmode of MODES)
        expect(await connect(server, { host: server.base, sslmode, sslrootcert: files.ca })).toBe('plain');
  });
});

describe('a server with TLS', () => {
  test('is used over TLS by every mode but disable', async () => {
    for (const sslmode of MODES)
      expect(await connect(secure, { sslmode, sslrootcert: files.ca })).toBe(
        sslmode === 'disable' ? 'plain' : 'tls',
      );
    expect(await connect(secure, { sslmode: 'verify-full', sslrootcert: files.ca, host: '127.0.0.1' })).toBe(
      'tls',
    );
    expect(await connect(secure, { sslmode: 'require' })).toBe('tls');
  });

  test('is not believed under a CA that did not sign its certificate', async () => {
    for (const sslmode of VERIFIED)
      expect(await connect(secure, { sslmode, sslrootcert: files.otherCa })).toMatch(
        /^tls: TLS with localhost:\d+ failed: /,
      );
    // A root certificate turns require into verify-ca; prefer checks nothing.
    expect(await connect(secure, { sslmode: 'require', sslrootcert: files.otherCa })).toStartWith(
      'tls: TLS with',
    );
    expect(await connect(secure, { sslmode: 'prefer', sslrootcert: files.otherCa })).toBe('tls');
    // The public authorities did not sign it either.
    for (const sslmode of VERIFIED)
      expect(await connect(secure, { sslmode, sslrootcert: 'system' })).toStartWith('tls: TLS with');
  });

  test('is checked against ~/.postgresql/root.crt when no other is named', async () => {
    for (const sslmode of VERIFIED)
      expect(await connect(secure, { sslmode })).toBe(
        `tls: postgresql.sslmode ${sslmode} needs postgresql.sslrootcert`,
      );
    const home = path.join(folder, 'home');
    for (const [certificate, outcome] of [
      [files.ca, 'connected\n'],
      [files.otherCa, 'CANNOT_CONNECT\n'],
    ] as const) {
      writePems(path.join(home, '.postgresql'), { 'root.crt': await Bun.file(certificate).text() });
      for (const sslmode of [...VERIFIED, 'require'] as const)
        expect(await connectElsewhere({ sslmode }, { HOME: home })).toBe(outcome);
    }
  });

  test('is never checked against the public authorities because a root certificate is empty', async () => {
    for (const sslmode of [...VERIFIED, 'require'] as const)
      for (const file of [files.empty, files.nonsense])
        expect(await connect(secure, { sslmode, sslrootcert: file })).toBe(
          `tls: postgresql.sslrootcert: ${file} holds no certificate`,
        );
    expect(await connect(secure, { sslmode: 'verify-ca', sslrootcert: '/none' })).toStartWith(
      'tls: postgresql.sslrootcert: cannot read /none',
    );
  });

  test('is not talked into less by NODE_TLS_REJECT_UNAUTHORIZED', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      for (const sslmode of VERIFIED) {
        expect(await connect(secure, { sslmode, sslrootcert: files.otherCa })).toStartWith('tls: TLS with');
        expect(await connect(secure, { sslmode, sslrootcert: files.ca })).toBe('tls');
      }
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    }
    // Nor when it was there from the start.
    const target = { sslmode: 'verify-ca', sslrootcert: files.otherCa } as const;
    expect(await connectElsewhere(target, { NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toBe('CANNOT_CONNECT\n');
  });

  test('under a wrong name is used by verify-ca, and not by verify-full', async () => {
    await present(await ca.issue({ commonName: 'db.example.org', dns: ['db.example.org', '*.example.net'] }));
    for (const sslmode of ['prefer', 'require', 'verify-ca'] as const)
      expect(await connect(secure, { sslmode, sslrootcert: files.ca })).toBe('tls');
    for (const host of ['localhost', '127.0.0.1'])
      expect(await connect(secure, { sslmode: 'verify-full', sslrootcert: files.ca, host })).toStartWith(
        'tls: TLS with',
      );
  });

  test('with an expired certificate, or one of tomorrow, is used by no mode that checks', async () => {
    const [yesterday, tomorrow] = [new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000)];
    const names = { dns: ['localhost'] };
    for (const certificate of [
      await ca.issue({ ...names, notAfter: yesterday }),
      await ca.issue({ ...names, notBefore: tomorrow }),
    ]) {
      await present(certificate);
      for (const sslmode of VERIFIED)
        expect(await connect(secure, { sslmode, sslrootcert: files.ca })).toStartWith('tls: TLS with');
      expect(await connect(secure, { sslmode: 'require' })).toBe('tls');
    }
    await present(await ca.issue(names));
    expect(await connect(secure, { sslmode: 'verify-full', sslrootcert: files.ca })).toBe('tls');
  });
});

describe('pg_hba.conf', () => {
  async function hba(...lines: string[]): Promise<void> {
    secure.writeHba(['local all all trust', ...lines]);
    await secure.query('select pg_reload_conf()');
    await Bun.sleep(100);
  }

  test('with hostnossl alone makes prefer go without TLS, and refuses who insists on it', async () => {
    await hba('hostnossl all all all trust');
    expect(await connect(secure, { sslmode: 'disable' })).toBe('plain');
    expect(await connect(secure, { sslmode: 'prefer' })).toBe('plain');
    for (const sslmode of ['require', 'verify-ca', 'verify-full'] as const)
      expect(await connect(secure, { sslmode, sslrootcert: files.ca })).toMatch(
        /^refused: no pg_hba\.conf entry/,
      );
  });

  test('with hostssl alone refuses who does not use it', async () => {
    await hba('hostssl all all all trust');
    expect(await connect(secure, { sslmode: 'disable' })).toMatch(/^refused: no pg_hba\.conf entry/);
    for (const sslmode of ['prefer', 'require', 'verify-full'] as const)
      expect(await connect(secure, { sslmode, sslrootcert: files.ca })).toBe('tls');
  });

  test('may ask for our certificate', async () => {
    await hba('hostssl all app all cert');
    const own = { user: 'app', sslmode: 'verify-full', sslrootcert: files.ca } as const;
    expect(await connect(secure, { ...own, sslcert: files.cert, sslkey: files.key })).toBe('tls');
    expect(await connect(secure, own)).toBe('refused: connection requires a valid client certificate');
    // One of a CA that the server does not know ends the conversation, not the daemon.
    for (let i = 0; i < 5; i++)
      expect(
        await connect(secure, { ...own, sslcert: files.strangerCert, sslkey: files.strangerKey }),
      ).toMatch(/^tls: TLS with /);
    expect(
      await connect(secure, { ...own, user: 'plainly', sslcert: files.cert, sslkey: files.key }),
    ).toMatch(/^refused: /);
    await hba('host all all all trust');
  });

  test('is not reached with a key that others can read, or that is not there', async () => {
    const own = { user: 'app', sslmode: 'require', sslcert: files.cert } as const;
    chmodSync(files.key, 0o644);
    try {
      expect(await connect(secure, { ...own, sslkey: files.key })).toBe(
        `tls: postgresql.sslkey: ${files.key} can be read by others: its mode is 0644`,
      );
    } finally {
      chmodSync(files.key, 0o600);
    }
    expect(await connect(secure, { ...own, sslkey: '/none' })).toStartWith(
      'tls: postgresql.sslkey: cannot read /none',
    );
    expect(await connect(secure, { ...own, sslkey: files.strangerKey })).toStartWith('tls: TLS with');
  });
});
