/** Broken files, each with exactly what is said about it. Lines and columns count from 1. */
import { describe, expect, test } from 'bun:test';
import { schema } from '../../../src/config/schema.ts';
import { configFixture } from './fixture.ts';

const fixture = configFixture();

const NODE_ID =
  'an id of 1 to 63 letters, digits, dots, underscores and hyphens that begins with a letter or digit';

/** Whole files. */
const files: [name: string, yaml: string, says: string][] = [
  // the file as such
  ['an empty file', '', 'config.yaml: is empty; steep-repl config init --force writes a starter file'],
  [
    'only comments',
    '# repl:\n#   node_id: a\n',
    'config.yaml: is empty; steep-repl config init --force writes a starter file',
  ],
  ['a list at the top', '- repl\n', 'config.yaml:1:1: has no keys at its top level; begin with `repl:`'],
  ['only text', 'hello\n', 'config.yaml:1:1: has no keys at its top level; begin with `repl:`'],
  [
    'no repl section',
    'other:\n  node_id: a\n',
    'config.yaml: has no key `repl`; put all keys of steep-repl below `repl:`, indented',
  ],
  [
    'a misspelt repl section',
    'relp:\n  node_id: a\n',
    'config.yaml: has no key `repl`; did you mean that by `relp`?',
  ],
  [
    'keys without a repl section',
    'node_id: a\n',
    'config.yaml: has no key `repl`; put all keys of steep-repl below `repl:`, indented',
  ],
  [
    'an empty repl section',
    'repl:\n',
    'config.yaml:1:1: repl: is empty; write the keys below it, indented, `node_id` at least',
  ],
  [
    'repl as a list',
    'repl:\n  - node_id: a\n',
    'config.yaml:1:1: repl: is not a section with keys; write the keys below it, indented, `node_id` at least',
  ],
  [
    'repl as text',
    'repl: node-a\n',
    'config.yaml:1:1: repl: is not a section with keys; write the keys below it, indented, `node_id` at least',
  ],
  [
    'repl given twice',
    'repl:\n  node_id: a\nother: 1\nrepl:\n  priority: 3\n',
    'config.yaml:4:1: repl: is given twice, first in line 1; put both together',
  ],
  [
    'a second document',
    'repl:\n  node_id: a\n---\nrepl:\n  node_id: b\n',
    'config.yaml:3:1: a second document begins (---); only one is allowed',
  ],
  // YAML
  ['a tab as indentation', 'repl:\n	node_id: a\n', 'config.yaml:2:1: tabs cannot indent; use spaces'],
  [
    'wrong indentation',
    'repl:\n  node_id: a\n   priority: 3\n',
    'config.yaml:2:12: a key: value cannot follow on the same line; quote the text, or mend the indentation of the next line',
  ],
  [
    'an unclosed quote',
    'repl:\n  node_id: "a\n  priority: 3\n',
    'config.yaml:4:1: something is missing before this place: a closing quote or bracket, a comma, a colon or a space',
  ],
  [
    'an unclosed bracket',
    'repl:\n  node_id: a\n  cluster:\n    join: [a:1, b:2\n',
    'config.yaml:5:1: the indentation does not fit the lines above, or a bracket there is not closed',
  ],
  [
    'a missing space after the colon',
    'repl:\n  node_id:a\n  priority: 3\n',
    'config.yaml:2:3: a key must be on one line, with a colon and a space after it',
  ],
  [
    'two keys on one line',
    'repl:\n  node_id: a priority: 3\n',
    'config.yaml:2:12: a key: value cannot follow on the same line; quote the text, or mend the indentation of the next line',
  ],
  [
    'text that begins with an at sign',
    'repl:\n  node_id: @a\n',
    'config.yaml:2:12: text cannot begin with this character; put it in quotes',
  ],
  [
    'an alias without anchor',
    'repl:\n  node_id: *a\n',
    'config.yaml:2:12: node_id: names an anchor (&) that does not stand before it; quote text that begins with *',
  ],
  [
    'an unknown tag',
    'repl:\n  node_id: !vault a\n',
    'config.yaml:2:19: node_id: has a tag (!) that is not known; quote text that begins with !',
  ],
  [
    'an anchor that contains itself',
    'repl:\n  node_id: a\n  grpc: &g\n    tls: *g\n',
    'config.yaml:1:1: repl: has too many values, or aliases (*) that contain each other',
  ],
  [
    'keys in camel case',
    'repl:\n  nodeId: a\n',
    [
      'the configuration has 2 problems',
      `  config.yaml:1:1: node_id: is missing; give it ${NODE_ID}`,
      '  config.yaml:2:3: nodeId: unknown key; did you mean node_id?',
    ].join('\n'),
  ],
  ['no node id', 'repl:\n  priority: 3\n', `config.yaml:1:1: node_id: is missing; give it ${NODE_ID}`],
  [
    'an empty node id',
    'repl:\n  node_id:\n',
    `config.yaml:2:3: node_id: has no value; give it ${NODE_ID}, or remove the line`,
  ],
  [
    'a node id with a space',
    'repl:\n  node_id: node a\n',
    `config.yaml:2:3: node_id: "node a" is not ${NODE_ID}`,
  ],
  [
    'a node id that begins with a hyphen',
    'repl:\n  node_id: -a\n',
    `config.yaml:2:3: node_id: "-a" is not ${NODE_ID}`,
  ],
  [
    'a node id of 64 characters',
    `repl:\n  node_id: ${'a'.repeat(64)}\n`,
    `config.yaml:2:3: node_id: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa… is not ${NODE_ID}`,
  ],
  ['a list as text', 'repl:\n  node_id: [a]\n', `config.yaml:2:3: node_id: ["a"] is not ${NODE_ID}`],
  [
    'many mistakes',
    'repl:\n  node_idd: a\n  priority: 500\n  grpc:\n    port: 0\n    insecure: true\n  heartbeat:\n    interval: 1\n',
    [
      'the configuration has 6 problems',
      `  config.yaml:1:1: node_id: is missing; give it ${NODE_ID}`,
      '  config.yaml:2:3: node_idd: unknown key; did you mean node_id?',
      '  config.yaml:3:3: priority: 500 is not a whole number from 1 to 100',
      '  config.yaml:5:5: grpc.port: 0 is not a whole number from 1 to 65535',
      '  config.yaml:6:5: grpc.insecure: grpc.insecure is true, but grpc.bind 0.0.0.0 is no loopback address; set grpc.bind to 127.0.0.1, or remove grpc.insecure and run steep-repl tls init',
      '  config.yaml:8:5: heartbeat.interval: 1 is not a duration from 50ms to 1m; it needs a unit, such as 1s',
    ].join('\n'),
  ],
];

/** What stands below `repl:` and `node_id: a`, from line 3 on, without its indentation. */
const keys: [name: string, yaml: string, says: string][] = [
  ['a key given twice', 'node_id: b', '3:3: node_id: is given twice, first in line 2; remove one'],
  [
    'a section given twice',
    'grpc: {port: 1}\nlog: {level: info}\ngrpc: {bind: "::"}',
    '5:3: grpc: is given twice, first in line 3; remove one',
  ],
  [
    'a merge key',
    'log: &l {level: info}\nhttp:\n  <<: *l',
    '5:5: http.<<: unknown key; known here: enabled, bind, port',
  ],
  // unknown keys
  ['a misspelt key', 'prioritty: 3', '3:3: prioritty: unknown key; did you mean priority?'],
  [
    'a misspelt key in a section',
    'heartbeat:\n  intervall: 1s',
    '4:5: heartbeat.intervall: unknown key; did you mean heartbeat.interval?',
  ],
  [
    'a key in the wrong section',
    'sslmode: require',
    '3:3: sslmode: unknown key; did you mean postgresql.sslmode?',
  ],
  [
    'a key that is in several sections',
    'port: 5433',
    '3:3: port: unknown key; did you mean postgresql.port or grpc.port or http.port?',
  ],
  [
    'a key unlike any other',
    'log:\n  colour: red',
    '4:5: log.colour: unknown key; known here: level, format',
  ],
  [
    'sections written with dots',
    'grpc.tls.cert_file: x.crt',
    '3:3: grpc.tls.cert_file: unknown key; write it in sections: grpc: { tls: { cert_file: … } }',
  ],
  [
    'a password',
    'postgresql:\n  password: hunter2',
    '4:5: postgresql.password: a password does not belong in a file; use postgresql.password_command, or the variable PGPASSWORD',
  ],
  [
    'a key __proto__',
    '__proto__:\n  role: witness',
    `3:3: __proto__: unknown key; known here: ${Object.keys(schema.shape).join(', ')}`,
  ],
  // missing and empty
  [
    'an empty value',
    'cluster:\n  allow:',
    '4:5: cluster.allow: has no value; give it a list, or remove the line',
  ],
  // types and ranges
  [
    'a node name with a line break',
    'node_name: "x\\ny"',
    '3:3: node_name: "x\\ny" is not a text of 1 to 255 characters on one line',
  ],
  ['a priority of 0', 'priority: 0', '3:3: priority: 0 is not a whole number from 1 to 100'],
  ['a priority with decimals', 'priority: 49.5', '3:3: priority: 49.5 is not a whole number from 1 to 100'],
  ['a priority in words', 'priority: high', '3:3: priority: "high" is not a whole number from 1 to 100'],
  [
    'a number in quotes',
    'grpc:\n  port: "5433"',
    '4:5: grpc.port: "5433" is not a whole number from 1 to 65535; write 5433, without quotes',
  ],
  [
    'a port beyond the last',
    'http:\n  port: 65536',
    '4:5: http.port: 65536 is not a whole number from 1 to 65535',
  ],
  ['yes for true', 'http:\n  enabled: yes', '4:5: http.enabled: "yes" is not true or false; write true'],
  [
    'true in quotes',
    'http:\n  enabled: "true"',
    '4:5: http.enabled: "true" is not true or false; write true, without quotes',
  ],
  ['an unknown role', 'role: arbiter', '3:3: role: "arbiter" is not node or witness'],
  [
    'a misspelt sslmode',
    'postgresql:\n  sslmode: verify_full',
    '4:5: postgresql.sslmode: "verify_full" is not disable, prefer, require, verify-ca or verify-full; did you mean verify-full?',
  ],
  [
    'a number where a section belongs',
    'heartbeat: 5',
    '3:3: heartbeat: is not a section; write below it, indented: interval, degraded_after, unreachable_after',
  ],
  [
    'a connection URL where the section belongs',
    'postgresql: postgres://u:hunter2@db/x',
    '3:3: postgresql: is not a section; write below it, indented: host, port, database, user, sslmode, sslrootcert, sslcert, sslkey, password_command, pool_max, connect_timeout, statement_timeout, advertise',
  ],
  [
    'a connection URL as host',
    'postgresql:\n  host: postgres://u:hunter2@db/x',
    '4:5: postgresql.host: "postgres://***@db/x" is not a host name, an IP address or the absolute path of a socket folder',
  ],
  [
    'several hosts',
    'postgresql:\n  host: db1,db2',
    '4:5: postgresql.host: "db1,db2" is not a host name, an IP address or the absolute path of a socket folder',
  ],
  [
    'an address that is none',
    'grpc:\n  bind: 10.0.0.256',
    '4:5: grpc.bind: "10.0.0.256" is not a host name or an IP address',
  ],
  ['a star as bind address', 'grpc:\n  bind: "*"', '4:5: grpc.bind: "*" is not a host name or an IP address'],
  [
    'an advertised address without port',
    'grpc:\n  advertise: db1',
    '4:5: grpc.advertise: "db1" is not host:port, such as db1.example.com:5433 or [fd00::1]:5433',
  ],
  [
    'an advertised IPv6 address without brackets',
    'grpc:\n  advertise: fd00::1:5433',
    '4:5: grpc.advertise: "fd00::1:5433" is not host:port, such as db1.example.com:5433 or [fd00::1]:5433',
  ],
  [
    'text where a list belongs',
    'cluster:\n  join: db2:5433',
    '4:5: cluster.join: "db2:5433" is not a list; put it in brackets: [ ]',
  ],
  [
    'a list item without port',
    'cluster:\n  join:\n    - db2:5433\n    - db3',
    '6:9: cluster.join: "db3" is not host:port, such as db1.example.com:5433 or [fd00::1]:5433',
  ],
  [
    'a socket mode open to others',
    'ipc:\n  mode: 0666',
    '4:5: ipc.mode: "0666" is not an octal mode such as 0600 or 0660 that lets its owner read and write and gives others nothing',
  ],
  [
    'a mode that is not octal',
    'ipc:\n  mode: 0680',
    '4:5: ipc.mode: "0680" is not an octal mode such as 0600 or 0660 that lets its owner read and write and gives others nothing',
  ],
  ['an empty path', 'state_dir: ""', '3:3: state_dir: "" is not a path'],
  [
    "another user's home",
    'state_dir: ~postgres/state',
    '3:3: state_dir: ~postgres is not expanded, only ~/ is; write the path in full',
  ],
  [
    'a password command with an open quote',
    "postgresql:\n  password_command: pass 'show hunter2",
    "4:5: postgresql.password_command: has no closing '; close the quote",
  ],
  [
    'a password command with a pipe',
    'postgresql:\n  password_command: echo hunter2 | head -1',
    `4:5: postgresql.password_command: has "|", which only a shell understands, and no shell is run; quote it, or write sh -c '…'`,
  ],
  [
    'a password command with a variable',
    'postgresql:\n  password_command: cat $HOME/pw',
    `4:5: postgresql.password_command: has "$", which only a shell understands, and no shell is run; quote it, or write sh -c '…'`,
  ],
  [
    'an empty password command',
    'postgresql:\n  password_command: " "',
    '4:5: postgresql.password_command: names no program; begin with the program to run',
  ],
  [
    'a password command of a map',
    'postgresql:\n  password_command: {run: hunter2}',
    '4:5: postgresql.password_command: is not a command line or a list of words',
  ],
  // durations
  [
    'a duration without unit',
    'heartbeat:\n  interval: 5',
    '4:5: heartbeat.interval: 5 is not a duration from 50ms to 1m; it needs a unit, such as 5s',
  ],
  [
    'a duration of zero',
    'postgresql:\n  connect_timeout: 0',
    '4:5: postgresql.connect_timeout: 0 is not a duration from 100ms to 10m; it needs a unit, such as 5s',
  ],
  [
    'a duration in unknown units',
    'postgresql:\n  statement_timeout: 5min',
    '4:5: postgresql.statement_timeout: "5min" is not a duration from 100ms to 1h; write 500ms, 5s, 10m, 1h, 7d or 2y',
  ],
  [
    'a duration with a space',
    'postgresql:\n  statement_timeout: 5 s',
    '4:5: postgresql.statement_timeout: "5 s" is not a duration from 100ms to 1h; write 500ms, 5s, 10m, 1h, 7d or 2y',
  ],
  [
    'a negative duration',
    'audit:\n  prune_interval: -1h',
    '4:5: audit.prune_interval: "-1h" is not a duration from 1s to 30d; write 500ms, 5s, 10m, 1h, 7d or 2y',
  ],
  [
    'a timeout of a year',
    'postgresql:\n  statement_timeout: 1y',
    '4:5: postgresql.statement_timeout: "1y" is not a duration from 100ms to 1h',
  ],
  [
    'a retention of hours',
    'audit:\n  retention: 12h',
    '4:5: audit.retention: "12h" is not a duration from 1d to 100y, or 0',
  ],
  // between keys
  [
    'a lease shorter than two heartbeats',
    'election:\n  lease: 1500ms',
    '4:5: election.lease: 2 × heartbeat.interval (1s) ≤ election.lease (1500ms) ≤ heartbeat.unreachable_after (4s) does not hold; set election.lease from 2s to 4s',
  ],
  [
    'a lease longer than unreachable_after',
    'election:\n  lease: 5s',
    '4:5: election.lease: 2 × heartbeat.interval (1s) ≤ election.lease (5s) ≤ heartbeat.unreachable_after (4s) does not hold; set election.lease from 2s to 4s',
  ],
  [
    'heartbeats too slow for the lease',
    'heartbeat:\n  interval: 2s',
    '4:5: heartbeat.interval: 2 × heartbeat.interval (2s) ≤ election.lease (3s) ≤ heartbeat.unreachable_after (4s) does not hold; set election.lease to 4s',
  ],
  [
    'degraded after unreachable',
    'heartbeat:\n  degraded_after: 4s',
    '4:5: heartbeat.degraded_after: heartbeat.degraded_after (4s) is not below heartbeat.unreachable_after (4s); a peer is degraded first and unreachable later: lower the first or raise the second',
  ],
  [
    'degraded between two heartbeats',
    'heartbeat:\n  degraded_after: 1s',
    '4:5: heartbeat.degraded_after: heartbeat.interval (1s) is not below heartbeat.degraded_after (1s); every peer would be degraded between two heartbeats: lower the first or raise the second',
  ],
  [
    'no TLS on all addresses',
    'grpc:\n  insecure: true',
    '4:5: grpc.insecure: grpc.insecure is true, but grpc.bind 0.0.0.0 is no loopback address; set grpc.bind to 127.0.0.1, or remove grpc.insecure and run steep-repl tls init',
  ],
  [
    'no TLS on a public address',
    'grpc:\n  insecure: true\n  bind: 192.0.2.1',
    '4:5: grpc.insecure: grpc.insecure is true, but grpc.bind 192.0.2.1 is no loopback address; set grpc.bind to 127.0.0.1, or remove grpc.insecure and run steep-repl tls init',
  ],
  [
    'identity by common name without a list',
    'grpc:\n  tls:\n    identity: cn',
    '5:7: grpc.tls.identity: cn counts only for the ids in cluster.allow, which is not set; list the node ids in cluster.allow',
  ],
  [
    'two doors on one port',
    'http:\n  enabled: true\n  port: 5433',
    '5:5: http.port: http.port and grpc.port are both 5433; give each its own port',
  ],
  [
    'etcd without endpoints',
    'election:\n  store: etcd',
    '4:5: election.store: etcd needs election.etcd.endpoints, which is not set; list the etcd members there',
  ],
  [
    'an etcd section without endpoints',
    'election:\n  store: etcd\n  etcd:\n    prefix: /x',
    '5:5: election.etcd.endpoints: is missing; give it a list with at least one item',
  ],
  [
    'an empty list of etcd endpoints',
    'election:\n  etcd:\n    endpoints: []',
    '5:7: election.etcd.endpoints: [] is not a list with at least one item',
  ],
  [
    'an etcd endpoint with a password',
    'election:\n  etcd:\n    endpoints: ["http://root:hunter2@etcd:2379"]',
    '5:19: election.etcd.endpoints: "http://***@etcd:2379" is not host:port, http://host:port or https://host:port',
  ],
  [
    'a client certificate without key',
    'postgresql:\n  sslcert: client.crt',
    '4:5: postgresql.sslcert: postgresql.sslcert is set, postgresql.sslkey is not; give both',
  ],
  [
    "the system's CAs without a check of the name",
    'postgresql:\n  sslrootcert: system',
    '4:5: postgresql.sslrootcert: system needs sslmode verify-full, not prefer; set postgresql.sslmode to verify-full',
  ],
  [
    'a socket group shut out by the mode',
    'ipc:\n  group: dba\n  mode: 0600',
    '5:5: ipc.mode: 0600 shuts out the group dba of ipc.group; remove ipc.mode, or set it to 0660',
  ],
  [
    'a socket path that is too long',
    `ipc:\n  path: /${'x'.repeat(110)}`,
    '4:5: ipc.path: the path has 111 bytes; a socket has at most 103; choose a shorter path',
  ],
  [
    'a witness with PostgreSQL',
    'role: witness\npostgresql:\n  host: db',
    '4:3: postgresql: a witness has no PostgreSQL; remove the section, or remove role: witness',
  ],
  [
    'a witness that does not vote',
    'role: witness\nelection:\n  enabled: false',
    '5:5: election.enabled: false, but a witness is there to vote; remove it, or remove role: witness',
  ],
];

const broken = [
  ...files,
  ...keys.map(([name, yaml, says]): [string, string, string] => {
    return [
      name,
      `repl:
  node_id: a
${yaml.replaceAll(/^/gm, '  ')}
`,
      `config.yaml:${says}`,
    ];
  }),
];

describe('a broken file is refused with a message that says where, what and how to mend it', () => {
  test.each(broken)('%s', (_, yaml, says) => {
    expect(fixture.refusal(yaml)).toBe(says);
  });

  test('no message shows a secret', () => {
    const secret = broken.filter(([, yaml]) => yaml.includes('hunter2'));
    expect(secret.length).toBeGreaterThan(5);
    for (const [, yaml] of secret) expect(fixture.refusal(yaml)).not.toContain('hunter2');
  });
});
