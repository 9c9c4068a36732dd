import { describe, expect, test } from 'bun:test';
import { hostname } from 'node:os';
import path from 'node:path';
import { describeSchema } from '../../../src/config/fields.ts';
import type { Config } from '../../../src/config/schema.ts';
import { configFixture } from './fixture.ts';

const fixture = configFixture();
const { home, root, file } = fixture;

function load(yaml: string, env: Record<string, string> = {}): Config {
  fixture.write(yaml);
  return fixture.load({ HOME: home, ...env }).config;
}

/** A file whose `repl` begins with a node id; the rest is indented by two. */
function node(...lines: string[]): string {
  return ['repl:', '  node_id: node-a', ...lines.map((line) => `  ${line}`), ''].join('\n');
}

describe('defaults', () => {
  test('all hold when only the node id is given', () => {
    const own = path.dirname(file);
    expect(load(node())).toEqual({
      enabled: true,
      node_id: 'node-a',
      node_name: 'node-a',
      priority: 50,
      role: 'node',
      state_dir: path.join(home, '.local/state/steep-repl/node-a'),
      postgresql: {
        host: 'localhost',
        port: 5432,
        database: 'postgres',
        user: 'someone',
        sslmode: 'prefer',
        pool_max: 4,
        connect_timeout: 5_000,
        statement_timeout: 30_000,
        advertise: `${hostname()}:5432`,
      },
      grpc: {
        enabled: true,
        bind: '0.0.0.0',
        port: 5433,
        advertise: `${hostname()}:5433`,
        tls: {
          cert_file: path.join(own, 'certs/node.crt'),
          key_file: path.join(own, 'certs/node.key'),
          ca_file: path.join(own, 'certs/ca.crt'),
          identity: 'uri',
        },
        insecure: false,
      },
      cluster: { join: [] },
      heartbeat: { interval: 1_000, degraded_after: 2_500, unreachable_after: 4_000 },
      election: { enabled: true, lease: 3_000, two_node: 'safe', store: 'builtin' },
      http: { enabled: false, bind: '0.0.0.0', port: 8080 },
      ipc: { enabled: true, mode: 0o600 },
      audit: { retention: 63_072_000_000, prune_interval: 3_600_000 },
      log: { level: 'info', format: 'auto' },
    });
  });

  test('every key whose default is worked out is there', () => {
    const config = load(node());
    const derived = describeSchema().fields.filter(({ leaf }) => leaf.derived !== undefined);
    expect(derived.length).toBeGreaterThan(5);
    for (const { path: keys } of derived)
      expect(
        keys.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], config),
      ).toBeDefined();
  });

  test('advertised ports follow the ports', () => {
    const config = load(node('grpc: {port: 6000}', 'postgresql: {port: 6001}'));
    expect(config.grpc.advertise).toBe(`${hostname()}:6000`);
    expect(config.postgresql.advertise).toBe(`${hostname()}:6001`);
  });

  test('a socket group opens the socket to it', () => {
    expect(load(node('ipc: {group: dba}')).ipc.mode).toBe(0o660);
  });

  test('a section whose keys are all commented out is as good as absent', () => {
    expect(load(node('grpc:', '  # port: 1', 'postgresql:')).grpc.port).toBe(5433);
  });
});

describe('values', () => {
  test.each(['0600', '0o600', '600', '"0600"'])('mode %s is what a DBA means by it', (mode) => {
    expect(load(node(`ipc: {mode: ${mode}}`)).ipc.mode).toBe(0o600);
  });

  test.each(['0', '"0"'])('retention %s keeps for ever', (retention) => {
    expect(load(node(`audit: {retention: ${retention}}`)).audit.retention).toBe(0);
  });

  test.each([
    ['007', '007'],
    ['1.10', '1.10'],
    ['1e3', '1e3'],
    ['true', 'true'],
  ])('a node id of %s stays as it is written', (written, id) => {
    expect(load(`repl:\n  node_id: ${written}\n`).node_id).toBe(id);
  });

  test('numbers in lists of text too', () => {
    expect(load(node('cluster: {allow: [1, 02, x]}')).cluster.allow).toEqual(['1', '02', 'x']);
  });

  test('a password command is split without a shell, or taken as a list', () => {
    const of = (value: string): string[] | undefined =>
      load(node(`postgresql: {password_command: ${value}}`)).postgresql.password_command;
    expect(of(`pass show "my db"`)).toEqual(['pass', 'show', 'my db']);
    expect(of(`[pass, show, my db, 5]`)).toEqual(['pass', 'show', 'my db', '5']);
    expect(of(`./get pw`)).toEqual([path.join(path.dirname(file), 'get'), 'pw']);
    expect(of(`~/bin/get ~/x`)).toEqual([path.join(home, 'bin/get'), '~/x']);
  });

  test('paths: ~ is the home folder, relative ones count from the file', () => {
    const config = load(
      node(
        'state_dir: ~/state',
        'postgresql: {sslrootcert: ca.crt, sslmode: verify-full}',
        'grpc: {tls: {ca_file: ../ca.crt, key_file: /k}}',
      ),
    );
    expect(config.state_dir).toBe(path.join(home, 'state'));
    expect(config.postgresql.sslrootcert).toBe(path.join(path.dirname(file), 'ca.crt'));
    expect(config.grpc.tls.ca_file).toBe(path.join(root, 'ca.crt'));
    expect(config.grpc.tls.key_file).toBe('/k');
  });

  test('sslrootcert system is a word and no path, as in libpq', () => {
    const config = load(node('postgresql: {sslrootcert: system, sslmode: verify-full}'));
    expect(config.postgresql.sslrootcert).toBe('system');
  });

  test('without a home folder ~ is refused, and state_dir has no default', () => {
    expect(fixture.refusal(node('state_dir: ~/x'), {})).toBe(
      'config.yaml:3:3: state_dir: ~ cannot be expanded: HOME is not set; write the path in full',
    );
    expect(fixture.refusal(node(), {})).toBe(
      'config.yaml:1:1: state_dir: has no default, since this user has no home folder; give it a path',
    );
  });

  test('a good file with everything in it', () => {
    const config = load(
      node(
        'node_name: Berlin 1',
        'priority: 100',
        'postgresql:',
        '  host: /var/run/postgresql',
        '  user: repl',
        '  database: app',
        '  advertise: "[fd00::1]:5432"',
        'grpc: {bind: "::", advertise: db1.example.com:5433, tls: {identity: cn, crl_file: crl.pem}}',
        'cluster: {join: ["db2:5433", "[fd00::2]:5433"], allow: [node-a, node-b]}',
        'heartbeat: {interval: 500ms, degraded_after: 2s, unreachable_after: 10s}',
        'election: {lease: 10s, two_node: promote, store: etcd, etcd: {endpoints: ["https://etcd:2379", "etcd2:2379"]}}',
        'http: {enabled: true, bind: 127.0.0.1, port: 65535}',
        'ipc: {path: repl.sock, group: dba, mode: 0660}',
        'audit: {retention: 17520h, prune_interval: 10m}',
        'log: {level: debug, format: json}',
      ),
    );
    expect(config.node_name).toBe('Berlin 1');
    expect(config.postgresql.advertise).toBe('[fd00::1]:5432');
    expect(config.cluster).toEqual({ join: ['db2:5433', '[fd00::2]:5433'], allow: ['node-a', 'node-b'] });
    expect(config.election.etcd).toEqual({
      endpoints: ['https://etcd:2379', 'etcd2:2379'],
      prefix: '/steep-repl',
    });
    expect(config.ipc).toEqual({
      enabled: true,
      path: path.join(path.dirname(file), 'repl.sock'),
      group: 'dba',
      mode: 0o660,
    });
    expect(config.audit).toEqual({ retention: 63_072_000_000, prune_interval: 600_000 });
  });

  test('the bounds of the lease are allowed', () => {
    expect(load(node('election: {lease: 2s}')).election.lease).toBe(2_000);
    expect(load(node('election: {lease: 4s}')).election.lease).toBe(4_000);
  });

  test.each(['127.0.0.1', '127.1.2.3', 'localhost', '"::1"'])('no TLS is allowed on %s', (bind) => {
    expect(load(node(`grpc: {insecure: true, bind: ${bind}}`)).grpc.insecure).toBe(true);
  });

  test('a witness needs no postgresql section, and the empty one of the starter file does no harm', () => {
    expect(load(node('role: witness')).role).toBe('witness');
    expect(load(node('role: witness', 'postgresql:')).role).toBe('witness');
  });

  test('a witness takes no notice of libpq variables that a shell happens to have', () => {
    const config = load(node('role: witness'), { PGHOST: 'db', PGPORT: 'nonsense', PGPASSWORD: 'hunter2' });
    expect(config.postgresql.host).toBe('localhost');
    expect(config.postgresql.password).toBeUndefined();
  });
});

describe('YAML as it comes', () => {
  test('what is outside repl is ignored, double keys, unknown tags and other types included', () => {
    const config = load(
      'tui: {a: 1}\ntui: !x {a: 2}\n5: [x]\n? [1, 2]\n: y\nrepl: {node_id: node-a}\nlast: *none\n',
    );
    expect(config.node_id).toBe('node-a');
  });

  test('anchors and aliases work, also from outside repl', () => {
    const config = load(
      'x: &port 6000\nrepl:\n  node_id: &id node-a\n  node_name: *id\n  grpc: {port: *port}\n',
    );
    expect(config.node_name).toBe('node-a');
    expect(config.grpc.port).toBe(6000);
  });

  test('a byte order mark and CRLF do not move the positions', () => {
    expect(load('\uFEFFrepl:\r\n  node_id: node-a\r\n  priority: 7\r\n').priority).toBe(7);
    expect(fixture.refusal('\uFEFFrepl:\r\n  node_id: node-a\r\n  priority: 700\r\n')).toStartWith(
      'config.yaml:3:3: priority',
    );
  });

  test('a document marker before the first key is fine', () => {
    expect(load(`---\n${node()}...\n`).node_id).toBe('node-a');
  });

  test('a bomb of aliases is refused in no time', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `  l${i + 1}: &l${i + 1} [${`*l${i}, `.repeat(9)}]`);
    const began = performance.now();
    expect(fixture.refusal(`repl:\n  node_id: a\n  l0: &l0 [x, x]\n${levels.join('\n')}\n`)).toBe(
      'config.yaml:1:1: repl: has too many values, or aliases (*) that contain each other',
    );
    expect(load(`bomb:\n  l0: &l0 [x, x]\n${levels.join('\n')}\n${node()}`).node_id).toBe('node-a');
    expect(performance.now() - began).toBeLessThan(30_000); // without the limit it would be hours
  });

  test('deep nesting ends in a message, not in a crash', () => {
    expect(fixture.refusal(`repl: ${'['.repeat(100_000)}`)).toMatch(/^config\.yaml.*nested too deeply$/);
  });
});

describe('origins', () => {
  test('tell the line, the variable or the default', () => {
    fixture.write(node('priority: 7', 'grpc:', '  port: 6000', 'cluster: {join: [a:1]}'));
    const { origins, scope } = fixture.load({ HOME: home, STEEP_REPL_PRIORITY: '8', PGPASSWORD: 'hunter2' });
    expect(origins['node_id']).toEqual({ source: 'file', file, line: 2, column: 3 });
    expect(origins['priority']).toEqual({ source: 'variable', variable: 'STEEP_REPL_PRIORITY' });
    expect(origins['grpc.port']).toEqual({ source: 'file', file, line: 5, column: 5 });
    expect(origins['cluster.join']).toEqual({ source: 'file', file, line: 6, column: 13 });
    expect(origins['grpc.bind']).toEqual({ source: 'default' });
    expect(origins['postgresql.password']).toEqual({ source: 'variable', variable: 'PGPASSWORD' });
    expect(scope).toBe('user');
  });
});
