/** Configuration files and the environment: what cannot be used is refused by place and name, all else keeps the rules. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describeSchema } from '../../src/config/fields.ts';
import { ConfigError, loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { starterFile } from '../../src/config/starter.ts';
import { thisPlatform } from '../../src/platform/index.ts';
import type { Random } from '../simulation/random.ts';
import { damaged, reworded } from './mutate.ts';
import { fail, type Input, type Target } from './target.ts';

const KEYS = describeSchema().fields.map(({ path: parts, variable }) => ({
  name: parts.at(-1) ?? '',
  variable,
}));
const WORDS = [
  ...'~ null true false yes 0 -1 1 65536 1e9 0x10 .inf .nan 0600 0o600 5s 0s 1h 2y 99999999999999999999y 1ms -5s'.split(
    ' ',
  ),
  ...'localhost 127.0.0.1 0.0.0.0 [::1]:5433 host:0 a:b:c / ~/x ../x /dev/zero node witness promote etcd cn uri'.split(
    ' ',
  ),
  ...'&a *a *b !!binary !!set << ? - | > {} [] {a: [ "a \' # % @ --- ... __proto__ constructor repl repl:'.split(
    ' ',
  ),
  ...'[a,b] [1,2] {grpc:{port:1}} \u0000 \u2028 \ud83d\ude00'.split(' '),
  `"${'x'.repeat(300)}"`,
  ...KEYS.map(({ name }) => name),
];
const FULL = `other: {program: 1}
repl:
  node_id: node-a
  node_name: The first
  priority: 70
  postgresql: {host: /run/pg, port: 5433, user: u, sslmode: verify-full, sslrootcert: ca.crt, pool_max: 4, connect_timeout: 5s}
  grpc:
    bind: 127.0.0.1
    port: 5433
    insecure: true
    tls: {cert_file: certs/node.crt, key_file: certs/node.key, ca_file: certs/ca.crt, identity: cn, crl_file: x.pem}
  cluster:
    join: [10.0.0.2:5433, "[fd00::1]:5433"]
    allow: [node-a, node-b]
  heartbeat: {interval: 1s, degraded_after: 2500ms, unreachable_after: 4s}
  election:
    lease: 3s
    two_node: promote
  http: {enabled: true, bind: 0.0.0.0, port: 8080}
  ipc: {path: ./ipc.sock, mode: 0600}
  audit: {retention: 0, prune_interval: 1h}
  log: {level: debug, format: json}
`;
const BASES = [
  FULL,
  starterFile('node-a'),
  'repl:\n  node_id: w\n  role: witness\n  state_dir: ~/state\n',
  'repl: &a\n  node_id: a\n  election: {store: etcd, etcd: {endpoints: ["https://e:2379"], prefix: /x}}\n',
  '{"repl": {"node_id": "a", "postgresql": {"password_command": ["cat", "x"]}}}',
];
const PASSWORD = 'fuzz-password-never-shown';

export async function openConfig(): Promise<Target> {
  const folder = mkdtempSync(path.join(tmpdir(), 'cfg-'));
  const file = path.join(folder, 'config.yaml');
  const platform = thisPlatform();
  return {
    generate: (random) => ({ yaml: yaml(random), env: Buffer.from(environment(random)) }),
    async check({ yaml: text, env }) {
      writeFileSync(file, text!);
      chmodSync(file, 0o600);
      const variables = { HOME: folder, PGPASSWORD: PASSWORD, ...variablesOf(env!) };
      try {
        const { config } = loadConfig({ path: file, env: variables, platform });
        keepsRules(config);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        judge(error, file);
      }
    },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function yaml(random: Random): Buffer {
  const base = random.of(BASES);
  const text = random.chance(0.7) ? reworded(random, base, WORDS) : base;
  const bytes = Buffer.from(text);
  return random.chance(0.4)
    ? damaged(
        random,
        bytes,
        BASES.map((one) => Buffer.from(one)),
      )
    : bytes;
}

/** `NAME=value` lines. */
function environment(random: Random): string {
  if (random.chance(0.5)) return '';
  return Array.from({ length: 1 + random.below(3) }, () => {
    const { variable } = random.of(KEYS);
    const name = random.chance(0.9) ? variable : `STEEP_REPL_${random.of(WORDS).toUpperCase()}`;
    return `${name}=${random.of(WORDS)}`;
  }).join('\n');
}

function variablesOf(env: Input[string]): Record<string, string> {
  const pairs = env
    .toString('latin1')
    .split('\n')
    .filter((line) => line.includes('='));
  return Object.fromEntries(
    pairs.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

function judge(error: ConfigError, file: string): void {
  if (error.code !== 'CONFIG_INVALID') fail(`a refusal with code ${error.code}`);
  if (error.problems.length === 0 || error.message === '') fail('a refusal without a reason');
  if (error.message.includes(PASSWORD)) fail(`the password is in the refusal: ${error.message}`);
  for (const { file: named, line, column, variable, message } of error.problems) {
    if (named !== file && variable === undefined)
      fail(`a problem that names neither file nor variable: ${message}`);
    if (message === '') fail('a problem without a message');
    for (const number of [line, column])
      if (number !== undefined && !(Number.isInteger(number) && number >= 1))
        fail(`a place ${line}:${column}`);
  }
}

/** What the contract says of every configuration in force. */
function keepsRules(config: Config): void {
  const {
    node_id: id,
    grpc,
    http,
    heartbeat,
    election,
    priority,
    state_dir: state,
    postgresql,
    ipc,
  } = config;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(id)) fail(`node_id ${JSON.stringify(id)}`);
  for (const port of [grpc.port, http.port, postgresql.port])
    if (!Number.isInteger(port) || port < 1 || port > 65_535) fail(`port ${port}`);
  if (!(priority >= 1 && priority <= 100)) fail(`priority ${priority}`);
  if (!path.isAbsolute(state)) fail(`state_dir ${state}`);
  if (grpc.enabled && grpc.insecure && !/^(127\.|::1$|localhost$)/.test(grpc.bind))
    fail(`insecure on ${grpc.bind}`);
  if (!(2 * heartbeat.interval <= election.lease && election.lease <= heartbeat.unreachable_after))
    fail(
      `lease ${election.lease}, interval ${heartbeat.interval}, unreachable_after ${heartbeat.unreachable_after}`,
    );
  if ((ipc.mode & 0o007) !== 0) fail(`ipc.mode ${ipc.mode.toString(8)} lets everybody in`);
}
