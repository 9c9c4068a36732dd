/** Links, foreign files and pipes in the way of what root’s commands and daemon write. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Outcome, Sandbox } from '../../support/cli.ts';
import { isRoot, NOBODY, Playground, UNTOUCHED } from './support.ts';

let place: Playground;
let sandbox: Sandbox;
beforeEach(() => {
  place = new Playground();
  sandbox = new Sandbox();
});
afterEach(() => {
  expect(place.victimNow).toBe(UNTOUCHED);
  place[Symbol.dispose]();
  sandbox[Symbol.dispose]();
});

function run(section: Record<string, unknown>, ...args: string[]): Promise<Outcome> {
  sandbox.writeConfig({ node_id: 'node-a', role: 'witness', grpc: { enabled: false }, ...section });
  return sandbox.run([...args, '--config', sandbox.config], { limit: 30_000 });
}

describe.skipIf(!isRoot)('state_dir is refused, and nothing in it touched or believed,', () => {
  test('where others could put files: a lock that leads elsewhere, votes of their own', async () => {
    place.nobody('ln -s "$1" lock; echo "{}" > cluster.json; ln -s "$1" audit-outbox.jsonl', place.victim);
    const { code, stderr } = await run({ state_dir: place.shared }, 'run');
    expect(code).toBe(5);
    expect(stderr).toContain(`state_dir ${place.shared} can be written by others: its mode is 1777`);
    const { code: checked, stdout, stderr: said } = await run({ state_dir: place.shared }, 'config', 'check');
    expect(checked).toBe(1);
    expect(stdout + said).toContain(`${place.shared}: others may write it`);
  });

  test('where it belongs to somebody else', async () => {
    const folder = place.theirs('state');
    const { code, stderr } = await run({ state_dir: folder }, 'run');
    expect(code).toBe(5);
    expect(stderr).toContain(`state_dir ${folder} can be written by others: it belongs to user id ${NOBODY}`);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe.skipIf(!isRoot)('config init', () => {
  const init = (file: string): Promise<Outcome> =>
    sandbox.run(['config', 'init', '--force', '--config', file]);

  test.each([
    ['a link', 'ln -s "$1" config.yaml.bak'],
    ['a file of somebody else', 'echo theirs > config.yaml.bak; chmod 666 config.yaml.bak'],
    ['a pipe', 'mkfifo -m 666 config.yaml.bak'],
  ])('keeps the old file in one of its own where %s waits', async (_what, plant) => {
    const file = place.at('config.yaml');
    writeFileSync(file, 'secret: of root', { mode: 0o600 });
    place.nobody(plant, place.victim);
    expect((await init(file)).code).toBe(0);
    const { uid, mode } = lstatSync(`${file}.bak`);
    expect([uid, mode & 0o777, readFileSync(`${file}.bak`, 'utf8')]).toEqual([0, 0o600, 'secret: of root']);
  });

  test('writes nothing into a folder of somebody else', async () => {
    const folder = place.theirs('conf');
    const { code, stderr } = await init(path.join(folder, 'config.yaml'));
    expect(code).toBe(5);
    expect(stderr).toContain('other users may write this folder');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe.skipIf(!isRoot)('certificates', () => {
  const tls = (folder: string) => ({
    grpc: {
      enabled: true,
      tls: { cert_file: `${folder}/node.crt`, key_file: `${folder}/node.key`, ca_file: `${folder}/ca.crt` },
    },
  });

  test('are not made where others could put a CA of theirs', async () => {
    place.nobody('ln -s "$1" node.key; ln -s "$1" ca.key', place.victim);
    const { code, stderr } = await run(tls(place.shared), 'tls', 'init');
    expect([code, stderr]).toEqual([5, expect.stringContaining('others may write this folder')]);
  });

  test.each(['sticky', 'theirs'])('are not issued into such a folder: %s', async (kind) => {
    expect((await run(tls(`${sandbox.folder}/certs`), 'tls', 'init')).code).toBe(0);
    const out = kind === 'sticky' ? place.shared : place.theirs('node-b');
    place.nobody('ln -sf "$1" node.key', place.victim);
    const { code, stderr } = await run(
      tls(`${sandbox.folder}/certs`),
      'tls',
      'issue',
      'node-b',
      '--force',
      '--out',
      out,
    );
    expect([code, stderr]).toEqual([5, expect.stringContaining('others may write this folder')]);
    expect(existsSync(path.join(out, 'ca.crt'))).toBe(false);
  });

  test('that are pipes keep nobody waiting', async () => {
    place.nobody('mkfifo -m 666 node.crt node.key ca.crt');
    for (const args of [
      ['tls', 'show'],
      ['tls', 'verify'],
      ['config', 'check'],
    ]) {
      const { code, stdout, stderr } = await run(tls(place.shared), ...args);
      expect([args, code]).toEqual([args, 1]);
      expect(stdout + stderr).toContain('no regular file');
    }
  });
});

test.skipIf(!isRoot)(
  'init-extension replaces a link or a pipe by its file, and follows neither',
  async () => {
    const folder = place.theirs('ext');
    place.nobody(
      'mkdir ext/extension; cd ext/extension; ln -s "$1" steep_repl.control; mkfifo steep_repl--0.1.0.sql',
      place.victim,
    );
    await run({ role: 'node' }, 'init-extension', '--dir', folder); // which then finds no PostgreSQL
    for (const name of ['steep_repl.control', 'steep_repl--0.1.0.sql']) {
      const found = lstatSync(path.join(folder, 'extension', name));
      expect([name, found.isFile(), found.uid]).toEqual([name, true, 0]);
    }
  },
);
