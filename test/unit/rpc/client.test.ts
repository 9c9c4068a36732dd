import { expect, test } from 'bun:test';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Coordinator } from '../../../src/gen/steep/repl/v1/coordinator_pb.ts';
import { PeerClient } from '../../../src/rpc/client.ts';

/** A peer that answers when it is told to. */
async function slowPeer() {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  const server = http2.createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(Coordinator, {
          async getNodes() {
            asked.resolve();
            await answer.promise;
            return { coordinatorId: 'node-a' };
          },
        }),
    }),
  );
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new PeerClient({
    address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    material: undefined,
    rules: { identity: 'uri', allow: undefined },
    nodeId: undefined,
  });
  const call = client.call(({ coordinator }, options) => coordinator.getNodes({}, options), 30_000);
  await asked.promise;
  return {
    client,
    call,
    answer: answer.resolve,
    sessions,
    async [Symbol.asyncDispose]() {
      answer.resolve();
      client.close();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

test('a line that is given up lets the call that runs on it end, then closes', async () => {
  await using peer = await slowPeer();
  const retired = peer.client.retire();
  await Bun.sleep(50);
  expect(peer.sessions.size).toBe(1);
  peer.answer();
  expect(await peer.call).toMatchObject({ coordinatorId: 'node-a' });
  await retired;
  while (peer.sessions.size > 0) await Bun.sleep(5);
});

test('a line that is closed ends the call that runs on it', async () => {
  await using peer = await slowPeer();
  const outcome = peer.call.catch((error: unknown) => error);
  peer.client.close();
  expect(await outcome).toBeInstanceOf(Error);
});
