import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Sandbox } from '../../support/cli.ts';
import { nativeDir, POSTGRES_17, TestPostgres } from '../../support/postgres.ts';

const script = readFileSync(path.join(import.meta.dir, '../../../extension/steep_repl--0.1.0.sql'), 'utf8');

/** A server that looks for extensions in a folder which is empty at first, and its databases. */
let server: TestPostgres;
let extensions: string;
let databases = 0;

beforeAll(async () => {
  extensions = mkdtempSync(path.join(tmpdir(), 'ext-'));
  mkdirSync(path.join(extensions, 'extension'));
  chmodSync(extensions, 0o755);
  server = await TestPostgres.start({ settings: { extension_control_path: `${extensions}:$system` } });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(extensions, { recursive: true, force: true });
});

/** A sandbox whose configuration points to a new, empty database. */
async function sandboxWithDatabase(): Promise<Sandbox & { database: string }> {
  databases += 1;
  const database = `init_${databases}`;
  await server.query(`CREATE DATABASE ${database}`);
  const sandbox = new Sandbox();
  sandbox.writeConfig({ node_id: 'node-a', postgresql: { host: server.base, user: 'postgres', database } });
  return Object.assign(sandbox, { database });
}

async function version(database: string): Promise<unknown> {
  const [row] = await server.query('SELECT steep_repl.version() AS version', database);
  return row?.['version'];
}

describe('init-extension', () => {
  test('with --dir writes the files and says how the server finds them, until it does', async () => {
    using sandbox = await sandboxWithDatabase();
    const elsewhere = path.join(sandbox.folder, 'elsewhere');
    const blind = await sandbox.run(['init-extension', '--config', sandbox.config, '--dir', elsewhere]);
    expect(blind.code).toBe(1);
    expect(blind.stderr).toContain('does not find the files of steep_repl');
    // What the server's DBA has set stays.
    const command = `ALTER SYSTEM SET extension_control_path = '${elsewhere}:${extensions}:$system'`;
    expect(blind.stderr).toContain(`in psql, as a superuser:  ${command};  SELECT pg_reload_conf();`);
    expect(readdirSync(path.join(elsewhere, 'extension')).sort()).toEqual([
      'steep_repl--0.1.0.sql',
      'steep_repl.control',
    ]);
    expect(statSync(path.join(elsewhere, 'extension/steep_repl.control')).mode & 0o777).toBe(0o644);

    const done = await sandbox.run(['init-extension', '--config', sandbox.config, '--dir', extensions]);
    expect(done).toMatchObject({ code: 0, stdout: '' });
    expect(done.stderr).toContain(`wrote ${extensions}/extension/steep_repl.control`);
    expect(done.stderr).toContain('created 0.1.0');
    expect(await version(sandbox.database)).toBe('0.1.0');
  });

  test('with --dir builds on what extension_control_path is, whatever that is, as far as it may be known', async () => {
    using sandbox = await sandboxWithDatabase();
    const elsewhere = path.join(sandbox.folder, "it's");
    const args = ['init-extension', '--config', sandbox.config, '--dir', elsewhere];
    const role = `curious_${sandbox.database}`;
    await server.query(`CREATE ROLE ${role} LOGIN; ALTER ROLE ${role} SET extension_control_path = '/none'`);
    const unknown = await sandbox.run(args, { env: { PGUSER: role } });
    expect(unknown.stderr).toContain('SHOW extension_control_path');
    expect(unknown.stderr).not.toContain('$system');

    const quoted = elsewhere.replace("'", "''");
    for (const [now, then] of [
      ['', `${quoted}:$system`],
      ['/opt/ext', `${quoted}:/opt/ext`],
    ]) {
      await server.query(`ALTER ROLE postgres SET extension_control_path = '${now}'`);
      expect((await sandbox.run(args)).stderr).toContain(`SET extension_control_path = '${then}';`);
    }
    await server.query('ALTER ROLE postgres RESET extension_control_path');
  });

  test('run a second time changes nothing, and says so', async () => {
    using sandbox = await sandboxWithDatabase();
    const args = ['init-extension', '--config', sandbox.config, '--dir', extensions, '--json'];
    const first = await sandbox.run(args);
    expect(JSON.parse(first.stdout)).toMatchObject({
      outcome: 'created',
      form: 'extension',
      version: '0.1.0',
    });
    const before = await server.query('SELECT count(*) FROM steep_repl.audit_log', sandbox.database);
    const second = await sandbox.run(args);
    expect(JSON.parse(second.stdout)).toEqual({
      outcome: 'unchanged',
      form: 'extension',
      version: '0.1.0',
      server: `${server.base}:5432/${sandbox.database}`,
      files: [],
      granted: null,
    });
    expect(await server.query('SELECT count(*) FROM steep_repl.audit_log', sandbox.database)).toEqual(before);
  });

  test('writes into the SHAREDIR of a server on this host that lacks the files', async () => {
    using sandbox = new Sandbox();
    const native = path.join(sandbox.folder, 'native');
    cpSync(nativeDir(), native, { recursive: true, verbatimSymlinks: true });
    await using own = await TestPostgres.start({ native });
    sandbox.writeConfig({ node_id: 'node-a', postgresql: { host: own.base, user: 'postgres' } });
    const done = await sandbox.run(['init-extension', '--config', sandbox.config]);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stderr).toContain(`wrote ${native}/share/postgresql/extension/steep_repl--0.1.0.sql`);

    // Where pg_config and --sharedir say the same place, there is nothing left to write.
    const pgConfig = path.join(sandbox.folder, 'pg_config');
    const seen = path.join(sandbox.folder, 'seen');
    writeFileSync(
      pgConfig,
      `#!/bin/sh\nenv >${seen}\n[ "$1" = --sharedir ] && echo ${native}/share/postgresql\n`,
      { mode: 0o755 },
    );
    const env = { PGPASSWORD: 'wr0ng-and-Secret', PGAPPNAME: 'seen' };
    for (const option of [`--pg-config=${pgConfig}`, `--sharedir=${native}/share/postgresql`]) {
      const again = await sandbox.run(['init-extension', '--config', sandbox.config, option, '--json'], {
        env,
      });
      expect(JSON.parse(again.stdout)).toMatchObject({ outcome: 'unchanged', files: [] });
    }
    expect(readFileSync(seen, 'utf8')).toContain('PGAPPNAME=seen');
    expect(readFileSync(seen, 'utf8')).not.toContain(env.PGPASSWORD);
  });

  test('refuses a pg_config that is none, naming it', async () => {
    using sandbox = await sandboxWithDatabase();
    for (const program of ['/bin/true', path.join(sandbox.folder, 'absent')]) {
      const refused = await sandbox.run([
        'init-extension',
        '--config',
        sandbox.config,
        '--pg-config',
        program,
      ]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(program);
    }
  });

  test('--no-files makes an ordinary schema, twice the same, and neither form takes the other over', async () => {
    using sandbox = await sandboxWithDatabase();
    await server.query(`CREATE ROLE maker LOGIN; GRANT CREATE ON DATABASE ${sandbox.database} TO maker`);
    const env = { PGUSER: 'maker' };
    const args = ['init-extension', '--config', sandbox.config];
    const first = await sandbox.run([...args, '--no-files', '--json'], { env });
    expect(first).toMatchObject({ code: 0 });
    expect(JSON.parse(first.stdout)).toMatchObject({ outcome: 'created', form: 'schema' });
    const recorded = await server.query('SELECT value FROM steep_repl.coordinator_state', sandbox.database);
    expect(recorded[0]?.['value']).toBe('0.1.0');
    const second = await sandbox.run([...args, '--no-files', '--json'], { env });
    expect(JSON.parse(second.stdout)).toMatchObject({ outcome: 'unchanged' });

    const crossed = await sandbox.run(args, { env });
    expect(crossed.code).toBe(1);
    expect(crossed.stderr).toContain('steep-repl init-extension --no-files keeps it up to date');
    await server.query('DROP SCHEMA steep_repl CASCADE', sandbox.database);
    expect((await sandbox.run([...args, '--dir', extensions])).code).toBe(0);
    const back = await sandbox.run([...args, '--no-files']);
    expect(back.code).toBe(1);
    expect(back.stderr).toContain('this database has the extension steep_repl 0.1.0');
  });

  test('--print prints SQL that makes the same schema, and asks for no configuration', async () => {
    using sandbox = await sandboxWithDatabase();
    const printed = await sandbox.run(['init-extension', '--print']);
    expect(printed).toMatchObject({ code: 0, stderr: '' });
    await server.query(printed.stdout, sandbox.database);
    expect(await version(sandbox.database)).toBe('0.1.0');
    const same = await sandbox.run(['init-extension', '--config', sandbox.config, '--no-files', '--json']);
    expect(JSON.parse(same.stdout)).toMatchObject({ outcome: 'unchanged' });
  });

  test('a role that may not gets exit code 5 and the GRANT that would help', async () => {
    using sandbox = await sandboxWithDatabase();
    await server.query('CREATE ROLE nobody_special LOGIN');
    for (const form of [['--dir', extensions], ['--no-files']]) {
      const refused = await sandbox.run(['init-extension', '--config', sandbox.config, ...form], {
        env: { PGUSER: 'nobody_special' },
      });
      expect(refused.code).toBe(5);
      expect(refused.stderr).toContain(`GRANT CREATE ON DATABASE "${sandbox.database}" TO "nobody_special"`);
    }
    expect(
      (await server.query("SELECT FROM pg_namespace WHERE nspname = 'steep_repl'", sandbox.database)).length,
    ).toBe(0);
  });

  test('--grant gives a role what the daemon needs', async () => {
    using sandbox = await sandboxWithDatabase();
    await server.query('CREATE ROLE daemon_role LOGIN');
    const done = await sandbox.run([
      'init-extension',
      '--config',
      sandbox.config,
      '--dir',
      extensions,
      '--grant',
      'daemon_role',
    ]);
    expect(done).toMatchObject({ code: 0 });
    await using sql = server.client({ database: sandbox.database, user: 'daemon_role' });
    await sql`SELECT steep_repl.daemon_register_node('n', 'n', 'h', 5432, 50, null, null)`;
    const absent = await sandbox.run([
      'init-extension',
      '--config',
      sandbox.config,
      '--grant',
      'no_such_role',
    ]);
    expect(absent.code).toBe(1);
    expect(absent.stderr).toContain('no_such_role');
  });

  test('an older extension is upgraded, its rows kept; a newer one is refused', async () => {
    using sandbox = await sandboxWithDatabase();
    const folder = path.join(extensions, 'extension');
    const older = (text: string): string => text.replaceAll("'0.1.0'", "'0.0.9'");
    await sandbox.run(['init-extension', '--config', sandbox.config, '--dir', extensions]);
    await server.query('DROP EXTENSION steep_repl', sandbox.database);
    writeFileSync(path.join(folder, 'steep_repl--0.0.9.sql'), older(script));
    writeFileSync(
      path.join(folder, 'steep_repl--0.0.9--0.1.0.sql'),
      "CREATE OR REPLACE FUNCTION steep_repl.version() RETURNS text LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT '0.1.0'::text $$;",
    );
    await server.query("CREATE EXTENSION steep_repl VERSION '0.0.9'", sandbox.database);
    await server.query("SELECT steep_repl.register_node('kept', 'kept', 'h')", sandbox.database);
    const done = await sandbox.run(['init-extension', '--config', sandbox.config, '--json']);
    expect(JSON.parse(done.stdout)).toMatchObject({ outcome: 'updated', version: '0.1.0' });
    expect((await server.query('SELECT FROM steep_repl.nodes', sandbox.database)).length).toBe(1);
    expect(await version(sandbox.database)).toBe('0.1.0');
    rmSync(path.join(folder, 'steep_repl--0.0.9.sql'));
    rmSync(path.join(folder, 'steep_repl--0.0.9--0.1.0.sql'));

    await server.query(
      "UPDATE pg_extension SET extversion = '0.2.0' WHERE extname = 'steep_repl'",
      sandbox.database,
    );
    const newer = await sandbox.run(['init-extension', '--config', sandbox.config]);
    expect(newer.code).toBe(1);
    expect(newer.stderr).toContain('steep_repl is 0.2.0, newer than this program knows (0.1.0)');
    expect(newer.stderr).toContain('install the newer steep-repl');
  });

  test('a schema of somebody else is left alone', async () => {
    using sandbox = await sandboxWithDatabase();
    await server.query('CREATE SCHEMA steep_repl; CREATE TABLE steep_repl.mine ()', sandbox.database);
    const refused = await sandbox.run(['init-extension', '--config', sandbox.config, '--no-files']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('a schema steep_repl exists that steep-repl did not make');
  });

  test('a schema of a role that may less than we is not even looked into', async () => {
    using sandbox = await sandboxWithDatabase();
    await server.query(
      `CREATE ROLE landlord LOGIN; ALTER DATABASE ${sandbox.database} OWNER TO landlord`,
      sandbox.database,
    );
    await using landlord = server.client({ user: 'landlord', database: sandbox.database });
    await landlord.unsafe(`
      CREATE SCHEMA steep_repl;
      CREATE TABLE steep_repl.caught (who text);
      CREATE FUNCTION steep_repl.trap() RETURNS jsonb LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO steep_repl.caught VALUES (session_user); RETURN '"0.1.0"'; END $$;
      CREATE VIEW steep_repl.coordinator_state AS
        SELECT 'steep_repl.schema_version'::text AS key, steep_repl.trap() AS value`);
    for (const form of [[], ['--no-files']]) {
      const refused = await sandbox.run(['init-extension', '--config', sandbox.config, ...form]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('schema steep_repl belongs to role landlord');
      expect(refused.stderr).toContain('PGUSER=landlord');
    }
    expect(await landlord`SELECT FROM steep_repl.caught`).toHaveLength(0);

    // The same of his own making is his to keep up to date, as that role.
    await landlord`DROP SCHEMA steep_repl CASCADE`;
    const env = { PGUSER: 'landlord' };
    for (const said of ['created 0.1.0', 'is there already']) {
      const done = await sandbox.run(['init-extension', '--config', sandbox.config, '--no-files'], { env });
      expect(done.stderr).toContain(said);
    }
  });

  test('PostgreSQL 17 gets the clear refusal and keeps nothing', async () => {
    await using old = await TestPostgres.start({ native: nativeDir(POSTGRES_17) });
    using sandbox = new Sandbox();
    sandbox.writeConfig({ node_id: 'node-a', postgresql: { host: old.base, user: 'postgres' } });
    for (const form of [[], ['--no-files']]) {
      const refused = await sandbox.run(['init-extension', '--config', sandbox.config, ...form]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('PostgreSQL 18 or later is required (server: 17.');
    }
    expect((await old.query("SELECT FROM pg_namespace WHERE nspname = 'steep_repl'")).length).toBe(0);
  });

  test('nobody at the address is exit code 7, a refused role 5, contradicting options 2', async () => {
    using sandbox = await sandboxWithDatabase();
    const args = ['init-extension', '--config', sandbox.config];
    const away = await sandbox.run(args, { env: { PGHOST: sandbox.folder } });
    expect(away).toMatchObject({ code: 7 });
    expect(away.stderr).toContain('pg_isready');
    const stranger = await sandbox.run(args, { env: { PGUSER: 'no_such_user' } });
    expect(stranger).toMatchObject({ code: 5 });
    expect((await sandbox.run([...args, '--no-files', '--dir', 'x'])).code).toBe(2);
    expect((await sandbox.run([...args, '--unknown'])).code).toBe(2);
  });

  test('a folder that cannot be written is exit code 5 or 1 with the ways out, and no half file', async () => {
    using sandbox = await sandboxWithDatabase();
    const blocked = path.join(sandbox.folder, 'blocked');
    writeFileSync(blocked, ''); // a file where the folder should be: refused to root too
    const refused = await sandbox.run(['init-extension', '--config', sandbox.config, '--dir', blocked]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('--no-files');
    expect(readFileSync(blocked, 'utf8')).toBe('');
  });
});
