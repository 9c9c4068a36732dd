import { describe, expect, test } from 'bun:test';
import { describeSchema } from '../../../src/config/fields.ts';
import type { Config } from '../../../src/config/schema.ts';
import { configFixture } from './fixture.ts';

const fixture = configFixture();

const FILE = `repl:
  node_id: node-a
  priority: 10
  postgresql: {host: from-file, port: 1, database: from-file, user: from-file, sslmode: disable}
`;

function load(env: Record<string, string>): Config {
  fixture.write(FILE);
  return fixture.load({ HOME: fixture.home, ...env }).config;
}

function refusal(env: Record<string, string>): string {
  return fixture.refusal(FILE, { HOME: fixture.home, ...env });
}

describe('the environment overrides the file', () => {
  test('libpq variables for the connection', () => {
    const { postgresql } = load({
      PGHOST: '/run/postgresql',
      PGPORT: '6543',
      PGDATABASE: 'app',
      PGUSER: 'repl',
      PGPASSWORD: 'hunter2',
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: '/ca.crt',
      PGSSLCERT: '/c.crt',
      PGSSLKEY: '~/c.key',
    });
    expect(postgresql).toMatchObject({
      host: '/run/postgresql',
      port: 6543,
      database: 'app',
      user: 'repl',
      password: 'hunter2',
      sslmode: 'verify-full',
      sslrootcert: '/ca.crt',
      sslcert: '/c.crt',
      sslkey: `${fixture.home}/c.key`,
    });
  });

  test('STEEP_REPL_<KEY> for every other key, each kind of value', () => {
    const config = load({
      STEEP_REPL_NODE_ID: 'node-b',
      STEEP_REPL_PRIORITY: '99',
      STEEP_REPL_HTTP_ENABLED: 'true',
      STEEP_REPL_GRPC_ENABLED: 'false',
      STEEP_REPL_HEARTBEAT_DEGRADED_AFTER: '3s',
      STEEP_REPL_AUDIT_RETENTION: '0',
      STEEP_REPL_IPC_MODE: '0660',
      STEEP_REPL_GRPC_TLS_CERT_FILE: 'here.crt',
      STEEP_REPL_CLUSTER_JOIN: 'a:1, b:2',
      STEEP_REPL_POSTGRESQL_PASSWORD_COMMAND: `pass 'my db'`,
      STEEP_REPL_ELECTION_STORE: 'etcd',
      STEEP_REPL_ELECTION_ETCD_ENDPOINTS: 'etcd:2379',
    });
    expect(config).toMatchObject({
      node_id: 'node-b',
      node_name: 'node-b',
      priority: 99,
      http: { enabled: true },
      heartbeat: { degraded_after: 3_000 },
      audit: { retention: 0 },
      ipc: { mode: 0o660 },
      cluster: { join: ['a:1', 'b:2'] },
      election: { store: 'etcd', etcd: { endpoints: ['etcd:2379'], prefix: '/steep-repl' } },
    });
    expect(config.grpc.enabled).toBe(false);
    expect(config.grpc.tls.cert_file).toBe(fixture.file.replace('config.yaml', 'here.crt'));
    expect(config.postgresql.password_command).toEqual(['pass', 'my db']);
  });

  test('an empty variable counts as not set', () => {
    expect(load({ PGHOST: '', STEEP_REPL_PRIORITY: '', STEEP_REPL_NO_SUCH_KEY: '' }).postgresql.host).toBe(
      'from-file',
    );
  });

  test('every key has one variable, and no two keys share one', () => {
    const variables = describeSchema().fields.map(({ variable }) => variable);
    expect(new Set(variables).size).toBe(variables.length);
    for (const variable of variables) expect(variable).toMatch(/^(PG[A-Z]+|STEEP_REPL_[A-Z0-9_]+)$/);
    expect(variables).not.toContain('STEEP_REPL_CONFIG');
  });
});

describe('a wrong variable is named', () => {
  test.each([
    [
      { STEEP_REPL_PRIORITY: '500' },
      'STEEP_REPL_PRIORITY: priority: 500 is not a whole number from 1 to 100',
    ],
    [
      { STEEP_REPL_PRIORITY: 'high' },
      'STEEP_REPL_PRIORITY: priority: "high" is not a whole number from 1 to 100',
    ],
    [{ PGPORT: '0' }, 'PGPORT: postgresql.port: 0 is not a whole number from 1 to 65535'],
    [
      { PGSSLMODE: 'allow' },
      'PGSSLMODE: postgresql.sslmode: "allow" is not disable, prefer, require, verify-ca or verify-full',
    ],
    [
      { STEEP_REPL_HTTP_ENABLED: 'yes' },
      'STEEP_REPL_HTTP_ENABLED: http.enabled: "yes" is not true or false; write true',
    ],
    [
      { STEEP_REPL_HEARTBEAT_INTERVAL: '5' },
      'STEEP_REPL_HEARTBEAT_INTERVAL: heartbeat.interval: "5" is not a duration from 50ms to 1m; it needs a unit, such as 5s',
    ],
    [
      { STEEP_REPL_CLUSTER_JOIN: 'a:1,b' },
      'STEEP_REPL_CLUSTER_JOIN: cluster.join: "b" is not host:port, such as db1.example.com:5433 or [fd00::1]:5433',
    ],
    [
      { STEEP_REPL_POSTGRESQL_PASSWORD_COMMAND: 'echo hunter2 | cat' },
      `STEEP_REPL_POSTGRESQL_PASSWORD_COMMAND: postgresql.password_command: has "|", which only a shell understands, and no shell is run; quote it, or write sh -c '…'`,
    ],
    [
      { STEEP_REPL_ELECTION_LEASE: '9s' },
      'STEEP_REPL_ELECTION_LEASE: election.lease: 2 × heartbeat.interval (1s) ≤ election.lease (9s) ≤ heartbeat.unreachable_after (4s) does not hold; set election.lease from 2s to 4s',
    ],
    [
      { STEEP_REPL_GRPC_PRT: '1' },
      'STEEP_REPL_GRPC_PRT: is no variable of steep-repl; did you mean STEEP_REPL_GRPC_PORT?',
    ],
    [
      { STEEP_REPL_X: '1' },
      'STEEP_REPL_X: is no variable of steep-repl; unset it; names follow the keys, as STEEP_REPL_GRPC_PORT does grpc.port',
    ],
    [
      { STEEP_REPL_POSTGRESQL_HOST: 'db' },
      'STEEP_REPL_POSTGRESQL_HOST: is no variable of steep-repl; postgresql.host is set by PGHOST',
    ],
    [
      { STEEP_REPL_POSTGRESQL_PASSWORD: 'hunter2' },
      'STEEP_REPL_POSTGRESQL_PASSWORD: is no variable of steep-repl; set PGPASSWORD, or better postgresql.password_command',
    ],
  ])('%o', (env, says) => {
    expect(refusal(env as unknown as Record<string, string>)).toBe(says);
  });

  test('together with what is wrong in the file', () => {
    expect(
      fixture.refusal('repl:\n  node_id: a\n  log: {level: loud}\n', {
        HOME: '/h',
        PGPORT: 'x',
        STEEP_REPL_Y: '1',
      }),
    ).toBe(
      [
        'the configuration has 3 problems',
        '  config.yaml:3:9: log.level: "loud" is not debug, info, warn or error',
        '  STEEP_REPL_Y: is no variable of steep-repl; unset it; names follow the keys, as STEEP_REPL_GRPC_PORT does grpc.port',
        '  PGPORT: postgresql.port: "x" is not a whole number from 1 to 65535',
      ].join('\n'),
    );
  });

  test('and a right one mends what is wrong in the file', () => {
    fixture.write('repl:\n  node_id: "not an id"\n  role: king\n');
    const env = { HOME: '/h', STEEP_REPL_NODE_ID: 'node-a', STEEP_REPL_ROLE: 'node' };
    expect(fixture.load(env).config.node_id).toBe('node-a');
  });
});
