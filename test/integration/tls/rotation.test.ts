import { beforeAll, expect, test } from 'bun:test';
import { thisPlatform } from '../../../src/platform/index.ts';
import { clientTlsOptions, serverTlsOptions } from '../../../src/tls/options.ts';
import { watchTlsMaterial } from '../../../src/tls/watch.ts';
import { connect } from 'node:tls';
import { waitFor } from '../../support/wait.ts';
import { loaded, materialOf, NodeFolder, type Pair, serialOf, TestCa } from '../../unit/tls/certificates.ts';
import { dial, TestServer } from './peers.ts';

let ca: TestCa;
let client: Pair;
let first: Pair;
let second: Pair;
beforeAll(async () => {
  ca = await TestCa.make('ca');
  const nodes = ['node-a', 'node-b', 'node-b'].map(async (node) => await ca.issue({ node }));
  [client, first, second] = (await Promise.all(nodes)) as [Pair, Pair, Pair];
});

/** A server whose files are watched, as the daemon does it. */
async function watched(stack: AsyncDisposableStack, crl?: string) {
  const folder = stack.use(new NodeFolder());
  const files = folder.install(first, ca.pem, crl);
  const current = loaded(files);
  const server = stack.use(await TestServer.start(current));
  const problems: string[] = [];
  let changes = 0;
  stack.use(
    watchTlsMaterial({
      files,
      platform: thisPlatform(),
      current,
      interval: 10,
      onChange: (material) => {
        server.server.setSecureContext(serverTlsOptions(material));
        changes += 1;
      },
      onInvalid: ({ message }) => problems.push(message),
    }),
  );
  const changed = async (count: number): Promise<void> =>
    await waitFor(() => changes === count, 'the new certificates');
  return { folder, server, problems, changed };
}

/** The serial number that a new connection sees, or why there is none. */
async function serialAt(port: number, ca_ = ca.pem): Promise<string | undefined> {
  const options = clientTlsOptions(materialOf(client, ca.pem), { host: 'localhost' });
  const socket = connect({ ...options, ca: ca_, host: '127.0.0.1', port });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  socket.once('secureConnect', () => resolve(socket.getPeerCertificate().serialNumber));
  socket.once('error', (error) => resolve(error.message));
  const serial = await promise;
  socket.destroy();
  return serial;
}

test('new connections see the new certificate, old ones go on, and a broken file changes nothing', async () => {
  await using stack = new AsyncDisposableStack();
  const { folder, server, problems, changed } = await watched(stack);
  const old = connect({
    ...clientTlsOptions(materialOf(client, ca.pem), { host: 'localhost' }),
    host: '127.0.0.1',
    port: server.port,
  });
  let ended = false;
  old.on('error', () => {}).on('close', () => (ended = true));
  stack.defer(() => void old.destroy());
  await new Promise((resolve) => old.once('secureConnect', resolve));
  expect(await serialAt(server.port)).toBe(serialOf(first));

  folder.install(second, ca.pem);
  await changed(1);
  expect(await serialAt(server.port)).toBe(serialOf(second));

  folder.write('node.crt', 'garbage');
  await waitFor(() => problems.length > 0, 'the report');
  await Bun.sleep(100);
  expect(problems).toHaveLength(1);
  expect(await serialAt(server.port)).toBe(serialOf(second));
  expect(ended).toBe(false);
});

test('what is demanded of clients stays the same after a change', async () => {
  await using stack = new AsyncDisposableStack();
  const { folder, server, changed } = await watched(stack);
  folder.install(second, ca.pem);
  await changed(1);
  const good = clientTlsOptions(materialOf(client, ca.pem), { host: 'localhost' });
  const stranger = await (await TestCa.make('other')).issue({ node: 'node-a' });
  expect(await dial(server.port, good)).toBe('admitted');
  expect(await dial(server.port, { ...good, cert: undefined, key: undefined })).not.toBe('admitted');
  expect(await dial(server.port, { ...good, ...stranger })).not.toBe('admitted');
  expect(await dial(server.port, { ...good, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).not.toBe(
    'admitted',
  );
});

test('a new CRL shuts out who was let in before, a resumed session too', async () => {
  await using stack = new AsyncDisposableStack();
  const { folder, server, changed } = await watched(stack, await ca.crl([]));
  const good = clientTlsOptions(materialOf(client, ca.pem), { host: 'localhost' });
  expect(await dial(server.port, good)).toBe('admitted');
  folder.write('crl.pem', await ca.crl([serialOf(client)]));
  await changed(1);
  expect(await dial(server.port, good)).not.toBe('admitted');
  await waitFor(() => server.refusals.length > 0, 'the refusal');
  expect(server.refusals).toEqual(['client: its certificate was revoked']);
});

test('no server hands out tickets: with one a certificate would not be verified again', async () => {
  await using server = await TestServer.start(materialOf(first, ca.pem));
  const socket = connect({
    ...clientTlsOptions(materialOf(client, ca.pem), { host: 'localhost' }),
    secureOptions: 0,
    host: '127.0.0.1',
    port: server.port,
  });
  let tickets = 0;
  socket.on('session', () => (tickets += 1));
  await new Promise((resolve) => socket.once('data', resolve));
  await Bun.sleep(50);
  expect(tickets).toBe(0);
  socket.destroy();
});
