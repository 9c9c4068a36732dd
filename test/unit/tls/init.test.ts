import { expect, test } from 'bun:test';
import { chownSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { thisPlatform } from '../../../src/platform/index.ts';
import { initTls, type InitResult } from '../../../src/tls/init.ts';
import { loaded, NodeFolder } from './certificates.ts';

async function init(folder: NodeFolder): Promise<InitResult> {
  return await initTls({
    files: folder.files,
    nodeId: 'node-a',
    ownHosts: ['db1'],
    hosts: undefined,
    stateDir: path.join(folder.path, 'state'),
    platform: thisPlatform(),
  });
}

test('several at one moment make one CA, and a pair that fits it', async () => {
  using folder = new NodeFolder();
  const results = await Promise.all(Array.from({ length: 8 }, async () => await init(folder)));
  expect(results.filter(({ ca }) => ca === 'made')).toHaveLength(1);
  expect(new Set(results.map(({ authority }) => authority.serial)).size).toBe(1);
  expect(loaded(folder.files).certificate.sans).toEqual(['DNS:db1', 'URI:steep-repl://node/node-a']);
});

const ROOT = process.getuid?.() === 0;
const DAEMON = 12_345;
if (!ROOT) console.log('skipping who gets the key: only root can give files away');

test.skipIf(!ROOT)('root gives the key to the user of the daemon, the CA’s key to nobody', async () => {
  using folder = new NodeFolder();
  const state = path.join(folder.path, 'state');
  mkdirSync(state);
  chownSync(state, DAEMON, DAEMON);
  const ownerOf = (name: string): number => statSync(path.join(folder.path, name)).uid;
  for (const attempt of ['the first', 'a renewal']) {
    await init(folder);
    expect({ attempt, node: ownerOf('node.key'), ca: ownerOf('ca.key') }).toEqual({
      attempt,
      node: DAEMON,
      ca: 0,
    });
    expect(statSync(folder.files.key_file).mode & 0o777).toBe(0o600);
    chownSync(state, 0, 0); // from then on the key itself tells
  }
});
