/** Whom a daemon dials must be who it says: by host name at first, by node id later. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { waitFor } from '../../support/wait.ts';
import { Authority, placePems, TestNode } from './support.ts';

let a: TestNode;
let b: TestNode;
let authority: Authority;

beforeAll(async () => {
  a = await TestNode.create('node-a');
  authority = await Authority.of(a);
  b = await TestNode.create('node-b', { ca: a, join: [a.address] });
});

afterAll(async () => {
  await b[Symbol.asyncDispose]();
  await a[Symbol.asyncDispose]();
});

test('a node whose certificate is for another host is not joined, and is with a right one', async () => {
  const right = a.pems;
  placePems(a.certs, await authority.node('node-a', { host: 'db1.example' }));
  await a.up();
  await a.follows('node-a');
  await b.up();
  const { error, hint } = await b.daemon.logged('cannot join yet');
  expect(error).toContain('its certificate is for DNS:db1.example');
  expect(hint).toContain('steep-repl tls issue NODE --host 127.0.0.1');
  expect(await a.nodes()).toEqual(['node-a healthy']);
  placePems(a.certs, right);
  await b.sees('node-a healthy', 'node-b healthy');
});

test('a known peer that answers as another node is not believed, and is under its own name', async () => {
  const right = b.pems;
  placePems(b.certs, await authority.node('node-c'));
  await b.restart();
  let shown = '';
  await waitFor(async () => {
    shown = JSON.stringify(await a.issues());
    return shown.includes('node-b answers as node-c');
  }, 'the issue').catch((error: Error) => {
    throw new Error(`${error.message}: ${shown}`);
  });
  await a.sees('node-a healthy', 'node-b unreachable');
  placePems(b.certs, right);
  await a.sees('node-a healthy', 'node-b healthy');
});
