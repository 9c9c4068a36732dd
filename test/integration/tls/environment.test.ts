import { expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { serverTlsOptions } from '../../../src/tls/options.ts';
import { Sandbox } from '../../support/cli.ts';
import { materialOf, NodeFolder, TestCa } from '../../unit/tls/certificates.ts';
import { TestServer } from './peers.ts';

const OFF = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };

test('NODE_TLS_REJECT_UNAUTHORIZED=0 does not let a client believe a server of another CA', async () => {
  const [ca, other] = await Promise.all([TestCa.make('ca'), TestCa.make('other')]);
  using sandbox = new Sandbox();
  sandbox.writeConfig({ node_id: 'node-a', grpc: { advertise: '127.0.0.1:5433' } });
  const pair = await ca.issue({ node: 'node-a' });
  const certs = path.join(sandbox.folder, 'certs');
  mkdirSync(certs);
  for (const [name, text] of Object.entries({
    'ca.crt': ca.pem,
    'node.crt': pair.cert,
    'node.key': pair.key,
  }))
    writeFileSync(path.join(certs, name), text, { mode: 0o600 });
  await using server = await TestServer.start(materialOf(await other.issue({ node: 'node-b' }), other.pem));
  const address = `127.0.0.1:${server.port}`;
  const { code, stdout } = await sandbox.run(['tls', 'verify', address, '--config', sandbox.config], {
    env: OFF,
  });
  expect({ code, stdout }).toEqual({
    code: 1,
    stdout: expect.stringContaining(`${address}: its certificate was signed by another CA (CN=other)`),
  });
});

test('NODE_TLS_REJECT_UNAUTHORIZED=0 does not let a server admit a client of another CA', async () => {
  const [ca, other] = await Promise.all([TestCa.make('ca'), TestCa.make('other')]);
  using folder = new NodeFolder();
  const file = folder.write(
    'admit.test.ts',
    `import { expect, test } from 'bun:test';
     import { dial, TestServer } from '${path.join(import.meta.dir, 'peers.ts')}';
     test('admit', async () => {
       expect(process.env.NODE_TLS_REJECT_UNAUTHORIZED).toBe('0');
       const { material, stranger } = ${JSON.stringify({
         material: materialOf(await ca.issue({ node: 'node-b' }), ca.pem),
         stranger: await other.issue({ node: 'node-a' }),
       })};
       await using server = await TestServer.start(material);
       const options = { minVersion: 'TLSv1.3', ALPNProtocols: ['h2'], rejectUnauthorized: false } as const;
       expect(await dial(server.port, { ...options, ...stranger })).not.toBe('admitted');
       expect(await dial(server.port, options)).not.toBe('admitted');
       expect(server.admitted).toEqual([]);
     });`,
  );
  const child = Bun.spawn([process.execPath, 'test', file], {
    cwd: folder.path,
    env: { ...process.env, ...OFF },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stderr, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('1 pass') });
  expect(serverTlsOptions(materialOf(await ca.issue({ node: 'node-b' }), ca.pem))).toMatchObject({
    rejectUnauthorized: true,
    requestCert: true,
    minVersion: 'TLSv1.3',
  });
});
