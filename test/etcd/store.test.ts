/** What is kept in a real etcd, and how it is reached. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import path from 'node:path';
import type { MemberList } from '../../src/cluster/list.ts';
import { SteepError } from '../../src/lib/errors.ts';
import { EtcdClient } from '../../src/etcd/client.ts';
import type { EtcdConfig } from '../../src/etcd/credentials.ts';
import { EtcdStore, type Store } from '../../src/etcd/store.ts';
import { CertificateAuthority, writePems } from '../support/certificates.ts';
import { freePort } from '../support/ports.ts';
import { waitFor } from '../support/wait.ts';
import { here, TestEtcd } from './etcd.ts';

setDefaultTimeout(180_000);

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await TestEtcd.start([await here()]);
});
afterAll(() => etcd?.[Symbol.asyncDispose]());

const clients: EtcdClient[] = [];
afterAll(() => clients.forEach((client) => client.close()));

function clientWith(changes: Partial<EtcdConfig> = {}, timeout = 5000): EtcdClient {
  const client = new EtcdClient({
    config: { prefix: '/steep-repl', ...etcd.config, ...changes },
    platform: { readableByOthers: () => undefined },
    timeout: () => timeout,
  });
  clients.push(client);
  return client;
}

function storeWith(changes: Partial<EtcdConfig> = {}, timeout?: number): EtcdStore {
  return new EtcdStore(clientWith(changes, timeout), '/steep-repl');
}

/** A store, and a cluster of its own in it. */
function fresh(): { store: Store; id: string } {
  return { store: storeWith(), id: crypto.randomUUID() };
}

const LIST: MemberList = {
  term: 0,
  number: 1,
  nodes: [{ node_id: 'a', instance_id: 'a1', role: 'node', state: 'member', vote: 'yes' }],
};

async function errorOf(action: Promise<unknown>): Promise<SteepError> {
  try {
    await action;
  } catch (error) {
    if (error instanceof SteepError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the place of the coordinator', () => {
  test('goes to the first who claims it, in the term of the revision that made it', async () => {
    const { store, id } = fresh();
    expect(await store.look(id)).toMatchObject({ coordinator: undefined, members: undefined });
    const { lease, ttl } = await store.grant(3000);
    expect(ttl).toBe(3000);
    const term = await store.claim(id, { node_id: 'a', since: 7, lease }, LIST);
    expect(await store.claim(id, { node_id: 'b', since: 8, lease }, undefined)).toBeUndefined();
    const view = await store.look(id);
    expect(view.coordinator).toEqual({ node_id: 'a', since: 7, lease, term: term! });
    expect(view.members).toEqual({ list: LIST, revision: term! });
    expect(view.revision).toBe(term!);
  });

  test('is granted for as long as etcd will, if that is longer', async () => {
    const { store } = fresh();
    expect((await store.grant(100)).ttl).toBeGreaterThanOrEqual(2000);
  });

  test('stays while its lease is renewed, for certain where etcd’s members are one, and is empty afterwards', async () => {
    const { store, id } = fresh();
    const { lease } = await store.grant(2000);
    await store.claim(id, { node_id: 'a', since: 7, lease }, LIST);
    for (let rounds = 0; rounds < 5; rounds += 1) {
      await Bun.sleep(1000);
      expect(await store.renew(id, lease)).toMatchObject({
        alive: true,
        certain: true,
        view: { coordinator: { node_id: 'a' } },
      });
    }
    await waitFor(async () => (await store.look(id)).coordinator === undefined, 'the lease to run out');
    expect(await store.renew(id, lease)).toMatchObject({ alive: false });
    expect((await store.look(id)).members?.list).toEqual(LIST);
  });

  test('cannot be emptied, or written for, by one that had it before', async () => {
    const { store, id } = fresh();
    const old = await store.grant(60_000);
    const before = (await store.claim(id, { node_id: 'a', since: 7, lease: old.lease }, LIST))!;
    await store.revoke(old.lease); // as if it had run out
    const { lease } = await store.grant(60_000);
    const term = (await store.claim(id, { node_id: 'b', since: 8, lease }, undefined))!;
    expect(term).toBeGreaterThan(before);
    const view = await store.look(id);
    const newer = { ...LIST, term: before, number: 2 };
    expect(await store.write(id, before, newer, view.members!.revision)).toEqual(view);
    await store.release(id, { term: before, lease: old.lease }, { successor: 'a', dissolve: true });
    expect(await store.look(id)).toEqual(view);
    expect(await store.write(id, term, newer, 1)).toEqual(view); // over another list than it thinks
    expect(await store.write(id, term, { ...newer, term }, view.members!.revision)).toBeGreaterThan(term);
    await store.revoke(lease);
  });

  test('is left with the name of a successor, whom the next coordinator takes away', async () => {
    const { store, id } = fresh();
    const first = await store.grant(60_000);
    const term = (await store.claim(id, { node_id: 'a', since: 7, lease: first.lease }, LIST))!;
    await store.release(id, { term, lease: first.lease }, { successor: 'b' });
    expect(await store.look(id)).toMatchObject({ coordinator: undefined, successor: 'b' });
    const { lease } = await store.grant(60_000);
    await store.claim(id, { node_id: 'b', since: 8, lease }, undefined);
    expect((await store.look(id)).successor).toBeUndefined();
    await store.revoke(lease);
    await store.revoke(lease); // it is gone already, and that is well
  });
});

describe('an etcd', () => {
  test('is asked at the next member when one is not there, or does not answer', async () => {
    const silent = Bun.listen({ hostname: '127.0.0.1', port: await freePort(), socket: { data() {} } });
    const nobody = `https://127.0.0.1:${await freePort()}`;
    const endpoints = [nobody, `https://127.0.0.1:${silent.port}`, ...etcd.config.endpoints];
    const store = storeWith({ endpoints }, 1000);
    expect((await store.look('any')).revision).toBeGreaterThan(0);
    silent.stop(true);
  });

  test('that does not answer is told with each endpoint and its reason', async () => {
    const silent = Bun.listen({ hostname: '127.0.0.1', port: await freePort(), socket: { data() {} } });
    const endpoints = [`https://127.0.0.1:${await freePort()}`, `https://127.0.0.1:${silent.port}`];
    const error = await errorOf(storeWith({ endpoints }, 300).look('any'));
    expect(error.code).toBe('CANNOT_CONNECT');
    expect(error.message).toBe(
      `etcd does not answer: ${endpoints[0]}: connection refused; ${endpoints[1]}: no answer within 300 ms`,
    );
    expect(error.hint).toContain('majority');
    silent.stop(true);
  });

  test('of another CA is not believed, and one that wants a certificate gets one', async () => {
    const other = await CertificateAuthority.create('another CA');
    const { ca } = writePems(path.join(etcd.folder, 'other'), { ca: other.cert });
    expect((await errorOf(storeWith({ ca_file: ca }).look('any'))).message).toContain('signed by another CA');
    const { cert_file: _cert, key_file: _key, ...bare } = etcd.config;
    const anonymous = new EtcdStore(
      new EtcdClient({
        config: { prefix: '/x', ...bare },
        platform: { readableByOthers: () => undefined },
        timeout: () => 2000,
      }),
      '/x',
    );
    expect((await errorOf(anonymous.look('any'))).code).toBe('CANNOT_CONNECT');
  });

  test('is not asked with a key that others may read', async () => {
    const client = new EtcdClient({
      config: { prefix: '/x', ...etcd.config },
      platform: { readableByOthers: () => ({ reason: 'mode 0644', remedy: 'chmod 600 it' }) },
      timeout: () => 2000,
    });
    const { message, hint } = await errorOf(new EtcdStore(client, '/x').look('any'));
    expect(message).toContain('mode 0644');
    expect(hint).toBe('chmod 600 it');
  });

  test('can be asked without TLS, where the endpoint says so', async () => {
    const plain = new EtcdClient({
      config: { prefix: '/x', endpoints: [etcd.members[0]!.plainUrl.replace('http://', '')] },
      platform: { readableByOthers: () => undefined },
      timeout: () => 2000,
    });
    clients.push(plain);
    expect((await new EtcdStore(plain, '/x').look('any')).revision).toBeGreaterThan(0);
  });

  test('whose keys something else wrote is told with the key', async () => {
    const { store, id } = fresh();
    const key = new TextEncoder().encode(`/steep-repl/${id}/members`);
    const value = new TextEncoder().encode('{"hello":"world"}');
    await clientWith().call(({ kv }, options) =>
      kv.txn({ success: [{ request: { case: 'requestPut', value: { key, value, lease: 0n } } }] }, options),
    );
    const error = await errorOf(store.look(id));
    expect(error).toMatchObject({ code: 'FAILED' });
    expect(error.message).toContain(`/steep-repl/${id}/members`);
  });

  test('tells when something changed, until nobody wants to know any more', async () => {
    const { id } = fresh();
    const client = clientWith();
    const store = new EtcdStore(client, '/steep-repl');
    const stopping = new AbortController();
    let woken = 0;
    const { key, rangeEnd } = store.range(id);
    const watch = client.watch(key, rangeEnd, () => (woken += 1), stopping.signal);
    await waitFor(() => woken === 1, 'the watch to begin');
    const { lease } = await store.grant(60_000);
    await store.claim(id, { node_id: 'a', since: 7, lease }, LIST);
    await waitFor(() => woken > 1, 'the news');
    await store.revoke(lease);
    stopping.abort();
    await watch;
  });
});
