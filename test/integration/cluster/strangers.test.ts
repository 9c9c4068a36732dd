/** Who has a certificate of the CA but does not belong decides nothing. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Request } from '../../../src/cluster/messages.ts';
import { thisPlatform } from '../../../src/platform/index.ts';
import { ask } from '../../../src/rpc/ask.ts';
import { PeerClient } from '../../../src/rpc/client.ts';
import { propose } from '../../../src/rpc/propose.ts';
import { loadTlsMaterial } from '../../../src/tls/material.ts';
import { freePort } from '../../support/ports.ts';
import { waitFor } from '../../support/wait.ts';
import { Authority, placePems, TestNode } from '../rpc/support.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'stranger-'));
let node: TestNode;
let stranger: PeerClient;
let clusterId: string;

beforeAll(async () => {
  node = await TestNode.start('node-a', { config: { cluster: { allow: ['node-a', 'node-b'] } } });
  const authority = await Authority.of(node);
  placePems(folder, await authority.node('node-x'));
  const files = {
    cert_file: `${folder}/node.crt`,
    key_file: `${folder}/node.key`,
    ca_file: `${folder}/ca.crt`,
  };
  const material = loadTlsMaterial(files, thisPlatform());
  if ('missing' in material) throw new Error(material.missing.join());
  stranger = new PeerClient({
    address: { host: '127.0.0.1', port: node.port },
    material,
    rules: { identity: 'uri', allow: undefined },
    nodeId: 'node-a',
  });
  await coordinates();
  // Everybody with a certificate may read this.
  const { nodes } = await stranger.call(
    ({ coordinator }, options) => coordinator.getNodes({}, options),
    5000,
  );
  clusterId = nodes[0]?.clusterId ?? '';
});

afterAll(async () => {
  stranger.close();
  await node[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

test.each([
  ['sets nobody offline', { kind: 'offline', node_id: 'node-a' }],
  ['removes nobody', { kind: 'remove', node_id: 'node-a' }],
  ['hands nothing over', { kind: 'transfer', node_id: 'node-x' }],
  [
    'does not let itself in',
    { kind: 'admit', node_id: 'node-x', instance_id: 'x', role: 'node', votes: true },
  ],
] as const)('it %s', async (_what, proposal) => {
  const refusal = await propose(stranger, clusterId, proposal, undefined, 5000).catch(
    (error: unknown) => error,
  );
  expect(refusal).toMatchObject({
    code: 'PERMISSION_DENIED',
    message: expect.stringContaining('node-x is not a member of this cluster') as unknown,
  });
});

/** It wants a vote, and to be followed by a list in which nobody else belongs. */
async function usurp(): Promise<string[]> {
  const common = { cluster_id: clusterId, term: 99, instance_id: 'x' };
  const requests: Request[] = [
    { ...common, kind: 'vote', trial: false, list: { term: 99, number: 1 } },
    {
      ...common,
      kind: 'renew',
      lease: 60_000,
      since: 0,
      version: { term: 99, number: 1 },
      list: {
        term: 99,
        number: 1,
        nodes: [{ node_id: 'node-x', instance_id: 'x', role: 'node', state: 'member', vote: 'yes' }],
      },
    },
  ];
  const told: string[] = [];
  for (const request of requests)
    told.push(
      await ask(stranger, 'node-x', request, 5000).then(
        ({ granted, reason }) => (granted ? 'granted' : reason),
        (error: Error) => error.message,
      ),
    );
  return told;
}

async function coordinates(): Promise<void> {
  await waitFor(
    async () => (await node.ask<{ node_id: string | null }>('coordinator.get')).node_id === 'node-a',
    'the coordinator',
  );
}

test('it gets no vote and no promise, with whatever list and term', async () => {
  for (const refusal of await usurp())
    expect(refusal).toContain('node-x is not among the nodes that cluster.allow names');
  expect(await node.nodes()).toEqual(['node-a healthy']);
  expect(await node.ask<object>('coordinator.get')).toMatchObject({ node_id: 'node-a', term: 1 });
});

test('nor where cluster.allow keeps nobody out: it was never let in', async () => {
  await node.restart({ cluster: {} });
  await coordinates();
  expect(await usurp()).toEqual(Array(2).fill('node-x does not belong'));
  expect(await node.ask<object>('coordinator.get')).toMatchObject({ node_id: 'node-a', term: 2 });
});

test('nor when it was let in and removed', async () => {
  const port = await freePort();
  const facts = { nodeId: 'node-x', nodeName: 'node-x', host: '127.0.0.1', port, priority: 1 };
  const registration = { ...facts, instanceId: 'x', clusterId, role: 'node', revision: 1n, votes: false };
  await stranger.call(({ coordinator }, options) => coordinator.registerNode(registration, options), 5000);
  expect(await node.cli(['nodes', 'remove', 'node-x', '--yes'])).toMatchObject({ code: 0 });
  for (const refusal of await usurp()) expect(refusal).toEndWith('node-x was removed from the cluster');
  expect(await node.ask<object>('coordinator.get')).toMatchObject({ node_id: 'node-a', term: 2 });
});
