/** Certificates and lists of revoked ones are replaced under load, by good files and by broken ones. */
import { chmodSync, copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { run } from '../../cluster/cluster.ts';
import { waitFor } from '../../support/wait.ts';
import { makeCrl } from '../crl.ts';
import { NOTICE_MS } from '../limits.ts';
import type { SoakNode, World } from '../world.ts';
import { settled } from '../settle.ts';
import type { Fault } from './fault.ts';

const TAKEN = 'certificate changed';
const REFUSED = 'certificates not used';

export const certificateFaults = {
  'certificates renewed': {
    alone: true,
    everywhere: true,
    async strike({ world, random }) {
      for (const node of world.nodes) await renew(world, node, random.between(0, 1500));
      return {};
    },
  },
  'broken certificate': {
    alone: true,
    async strike({ node, world, random }) {
      const file = random.of(['node.crt', 'node.key', 'ca.crt']);
      return { told: file, mend: await broken(world, node, file, random.of(['', 'no PEM\n'])) };
    },
  },
  'CRL replaced': {
    alone: true,
    everywhere: true,
    async strike({ world, random }) {
      const crl = await makeCrl(caFolder(world), [random.below(2 ** 31).toString(16)]);
      for (const node of world.nodes) place(node, 'crl.pem', crl);
      return {};
    },
  },
  'broken CRL': {
    alone: true,
    async strike({ node, world }) {
      return { mend: await broken(world, node, 'crl.pem', 'no list\n') };
    },
  },
} satisfies Record<string, Fault>;

function certs(node: SoakNode): string {
  return path.join(node.node.home.folder, 'certs');
}

/** The first node has the CA. */
function caFolder({ nodes }: World): string {
  return certs(nodes[0]!);
}

function place(node: SoakNode, name: string, text: string): void {
  const file = path.join(certs(node), name);
  writeFileSync(`${file}.new`, text);
  chmodSync(`${file}.new`, name.endsWith('.key') ? 0o600 : 0o644);
  renameSync(`${file}.new`, file);
}

/** By the commands; the two files of another node arrive one after the other. */
async function renew(world: World, node: SoakNode, between: number): Promise<void> {
  const { daemon } = node.life;
  const before = daemon.count(TAKEN);
  const [first] = world.nodes;
  const config = ['--config', first!.node.home.configFile];
  if (node === first) await run(first.node, 'tls', 'init', ...config);
  else {
    const out = path.join(first!.node.home.folder, `new-${node.id}`);
    const host = ['--host', node.node.host.address];
    await run(first!.node, 'tls', 'issue', node.id, ...host, '--out', out, '--force', ...config);
    for (const name of ['node.key', 'node.crt']) {
      copyFileSync(path.join(out, name), path.join(certs(node), name));
      await Bun.sleep(between);
    }
  }
  await waitFor(() => daemon.count(TAKEN) > before, 'the new certificate', NOTICE_MS).catch(() =>
    world.found('nothing', `${node.id} did not take its new certificate`),
  );
}

/** Puts something broken in the place of a file; all must stay well, and the daemon must say so. Returns what mends. */
async function broken(
  world: World,
  node: SoakNode,
  name: string,
  text: string,
): Promise<() => Promise<void>> {
  const { daemon } = node.life;
  const good = readFileSync(path.join(certs(node), name), 'utf8');
  const [taken, refused] = [daemon.count(TAKEN), daemon.count(REFUSED)];
  place(node, name, text);
  await waitFor(() => daemon.count(REFUSED) > refused, 'word of the broken file', NOTICE_MS).catch(() =>
    world.found('nothing', `${node.id} said nothing of its broken ${name}`),
  );
  return async () => {
    if (!(await settled(world)).well)
      world.found('nothing', `a broken ${name} of ${node.id} changed something`);
    if (daemon.count(TAKEN) > taken) world.found('nothing', `${node.id} took a broken ${name}`);
    place(node, name, good);
  };
}
