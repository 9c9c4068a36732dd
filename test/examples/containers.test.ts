/** The examples for containers, as far as they can be tried without an engine: files, names, and what our part makes of them. */
import { afterAll, describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { Sandbox, steepReplCommand } from '../support/cli.ts';

const examples = path.join(import.meta.dir, '../../examples');
const dockerfile = readFileSync(path.join(examples, 'Dockerfile'), 'utf8');

interface Service {
  image: string;
  hostname?: string;
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck: { test?: string[] };
}
const compose = parse(readFileSync(path.join(examples, 'compose.yaml'), 'utf8'), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, object>;
};
const daemons = Object.entries(compose.services).filter(([name]) => name.startsWith('node-'));

describe('the Dockerfile', () => {
  test('has only instructions that exist, and takes the package as the build names it', () => {
    const lines = dockerfile
      .replaceAll('\\\n', ' ')
      .split('\n')
      .filter((line) => !/^(#.*)?$/.test(line));
    const instructions = lines.map((line) => line.split(' ')[0] ?? '');
    const known = new Set(['FROM', 'ARG', 'RUN', 'EXPOSE', 'VOLUME', 'USER', 'ENV', 'ENTRYPOINT', 'CMD']);
    expect(instructions.filter((one) => !known.has(one))).toEqual([]);
    expect(instructions[0]).toBe('FROM');
    expect(dockerfile).toContain('dpkg -i /dist/steep-repl_*_${TARGETARCH}.deb');
    expect(readFileSync(path.join(examples, '../build/deb.ts'), 'utf8')).toContain(
      '`steep-repl_${version}_${architecture}.deb`',
    );
  });

  test('does not run the daemon as root', () => {
    const users = [...dockerfile.matchAll(/^USER (.*)$/gm)].map(([, user]) => user);
    expect(users).toEqual(['steep-repl']);
    expect(dockerfile.indexOf('USER ')).toBeLessThan(dockerfile.indexOf('ENTRYPOINT'));
  });
});

describe('the compose file', () => {
  const sandbox = new Sandbox();
  afterAll(() => sandbox[Symbol.dispose]());

  test('names only services and volumes that it has', () => {
    for (const { volumes = [], depends_on: needs = {} } of Object.values(compose.services)) {
      for (const volume of volumes)
        expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0] ?? '');
      for (const name of Object.keys(needs)) expect(Object.keys(compose.services)).toContain(name);
    }
  });

  test('makes certificates for each node by its first service, and only once', async () => {
    const script = compose.services['certificates']?.command?.[0] ?? '';
    const folder = path.join(sandbox.folder, 'nodes');
    for (const node of ['a', 'b', 'w']) mkdirSync(path.join(folder, node), { recursive: true });
    const local = script
      .replaceAll('$$', '$')
      .replaceAll('/nodes', folder)
      .replaceAll('steep-repl:', '"$(id -un):"')
      .replaceAll(/\bsteep-repl(?= [a-z])/g, steepReplCommand.join(' '));
    const run = (): string => {
      const { exitCode, stderr } = Bun.spawnSync(['sh', '-euc', local], { env: sandbox.env });
      return `exit ${exitCode}: ${stderr.toString()}`;
    };
    expect(run()).toStartWith('exit 0: wrote ');
    const before = readFileSync(path.join(folder, 'a/certs/node.crt'), 'utf8');
    expect(run()).toBe('exit 0: ');
    expect(readFileSync(path.join(folder, 'a/certs/node.crt'), 'utf8')).toBe(before);
    for (const [name] of daemons) {
      const shown = await sandbox.run(['tls', 'show', '--json', '--config', configOf(name)]);
      expect(shown.stdout).toContain(`steep-repl://node/${name}`);
      expect(shown.stdout).toContain(`DNS:${name}`);
    }
  });

  test.each(daemons)('%s has variables that exist, with values that are allowed', async (name, service) => {
    const env = Object.fromEntries(
      Object.entries(service.environment ?? {}).map(([key, value]) => [
        key,
        value.replace(/^\$\{.*\}$/, 'secret'),
      ]),
    );
    const shown = await sandbox.run(['config', 'show', '--json', '--config', configOf(name)], { env });
    expect({ code: shown.code, stderr: shown.stderr }).toEqual({ code: 0, stderr: '' });
    const { values } = JSON.parse(shown.stdout) as { values: { key: string; value: unknown }[] };
    const valueOf = (key: string): unknown => values.find((entry) => entry.key === key)?.value;
    expect(valueOf('node_id')).toBe(name);
    expect(service.hostname).toBe(name);
    expect(valueOf('grpc.advertise')).toBe(`${name}:5433`);
    expect(valueOf('http.enabled')).toBe(true);
    expect(valueOf('cluster.join')).toEqual(name === 'node-a' ? [] : ['node-a:5433']);
    expect(valueOf('role')).toBe(name === 'node-w' ? 'witness' : 'node');
  });

  test('runs commands that exist', async () => {
    for (const [, { command = [], healthcheck }] of daemons) {
      const typed = [...command.join(' ').matchAll(/steep-repl ([a-z-]+)/g)].map(([, verb = '']) => verb);
      const asked = healthcheck.test?.[1] === 'steep-repl' ? [healthcheck.test[2] ?? ''] : [];
      for (const verb of [...typed, ...asked]) expect((await sandbox.run([verb, '--help'])).code).toBe(0);
      expect(asked).toEqual(['health']);
    }
  });

  function configOf(name: string): string {
    return path.join(sandbox.folder, 'nodes', name.replace('node-', ''), 'config.yaml');
  }
});
