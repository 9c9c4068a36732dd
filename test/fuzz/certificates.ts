/**
 * Certificate, key, CA and CRL files: what cannot be used is refused by name; with what is taken, neither a stranger nor
 * a revoked peer gets through a real handshake.
 */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { describeFiles } from '../../src/cli/tls/files.ts';
import { SteepError } from '../../src/lib/errors.ts';
import { thisPlatform } from '../../src/platform/index.ts';
import { contextOptions } from '../../src/tls/options.ts';
import { loadTlsMaterial, type TlsMaterial } from '../../src/tls/material.ts';
import { pemBlocks, toPem } from '../../src/tls/pem.ts';
import { dial, TestServer } from '../integration/tls/peers.ts';
import type { Random } from '../simulation/random.ts';
import { NodeFolder, type Pair, serialOf, TestCa } from '../unit/tls/certificates.ts';
import { damaged } from './mutate.ts';
import { fail, type Input, type Target } from './target.ts';

const FILES = ['node.crt', 'node.key', 'ca.crt', 'crl.pem'] as const;
/** What a peer that no CA of ours let in may present. */
interface Strangers {
  foreign: Pair;
  revoked: Pair;
}

export async function openCertificates(): Promise<Target> {
  const [ca, foreignCa] = [await TestCa.make('ca'), await TestCa.make('ca')];
  const node = await ca.issue({ node: 'node-a' });
  const revoked = await ca.issue({ node: 'node-b' });
  const strangers: Strangers = { foreign: await foreignCa.issue({ node: 'node-b' }), revoked };
  const good: Input = {
    'node.crt': Buffer.from(node.cert),
    'node.key': Buffer.from(node.key),
    'ca.crt': Buffer.from(ca.pem),
    'crl.pem': Buffer.from(await ca.crl([serialOf(revoked)])),
  };
  // What a careless hand may put into a file; never a foreign CA into ca.crt, which would be trusted by right.
  const foreign = [foreignCa.pem, await foreignCa.crl([]), strangers.foreign.cert].map((one) =>
    Buffer.from(one),
  );
  const folder = new NodeFolder();
  const files = { ...folder.files, crl_file: path.join(folder.path, 'crl.pem') };
  const write = (input: Input): void => {
    for (const name of FILES) writeFileSync(path.join(folder.path, name), input[name]!, { mode: 0o600 });
  };
  write(good);
  const taken = loadTlsMaterial(files, thisPlatform());
  return {
    generate(random) {
      const name = random.of(FILES);
      const others = [...Object.values(good), ...(name === 'ca.crt' ? [] : foreign)];
      return { ...good, [name]: variant(random, good[name]!, others) };
    },
    async check(input) {
      write(input);
      describeFiles(files, thisPlatform());
      const material = load(files);
      if (material === undefined || isDeepStrictEqual(material, taken)) return;
      await refuses(material, strangers);
    },
    async [Symbol.asyncDispose]() {
      rmSync(folder.path, { recursive: true, force: true });
    },
  };
}

/** Damaged as a text, or inside of one of its blocks, or with a block of another file. */
function variant(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  const kind = random.below(4);
  if (kind === 0) return damaged(random, bytes, others);
  const [block] = pemBlocks(bytes.toString('latin1'), 'CERTIFICATE', 'PRIVATE KEY', 'CRL', 'X509 CRL');
  if (kind < 3 && block) {
    const others_ = others.flatMap((one) =>
      pemBlocks(one.toString('latin1'), 'CERTIFICATE', 'CRL', 'X509 CRL').map(({ der }) => der),
    );
    const label = random.chance(0.9)
      ? block.label
      : random.of(['CERTIFICATE', 'CRL', 'X509 CRL', 'EC PRIVATE KEY']);
    return Buffer.from(toPem(label, damaged(random, block.der, others_)));
  }
  const parts = [bytes, random.of(others)];
  return Buffer.concat(random.chance(0.5) ? parts : parts.toReversed());
}

function load(files: Parameters<typeof loadTlsMaterial>[0]): TlsMaterial | undefined {
  try {
    const material = loadTlsMaterial(files, thisPlatform());
    if ('missing' in material) return fail(`files that are there are missing: ${material.missing.join()}`);
    return material;
  } catch (error) {
    if (!(error instanceof SteepError) || error.code !== 'CONFIG_INVALID') throw error;
    if (!Object.values(files).some((file) => file !== undefined && error.message.includes(file)))
      fail(`a refusal that names no file: ${error.message}`);
    if (error.hint === undefined) fail(`a refusal without a remedy: ${error.message}`);
    if (error.message.includes('PRIVATE KEY')) fail('the key is in the refusal');
    return undefined;
  }
}

async function refuses(material: TlsMaterial, { foreign, revoked }: Strangers): Promise<void> {
  await using server = await TestServer.start(material);
  for (const [what, { cert, key }] of Object.entries({ foreign, revoked })) {
    const outcome = await dial(server.port, {
      ...contextOptions(material),
      cert,
      key,
      rejectUnauthorized: false,
    });
    if (outcome === 'admitted' || server.admitted.length > 0) fail(`a ${what} peer gets in`);
  }
}
