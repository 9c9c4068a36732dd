import { describe, expect, test } from 'bun:test';
import net from 'node:net';
import { listenOnPipe } from '../../../src/platform/windows-pipe.ts';
import { rightsOf } from '../../../src/platform/windows-security.ts';

describe.skipIf(process.platform !== 'win32')('a pipe', () => {
  const address = `\\\\.\\pipe\\steep-test-${process.pid}`;

  test('lets in the system, administrators, its owner and a configured group, and nobody over the network', async () => {
    await using _open = await listenOnPipe(net.createServer(), address, { mode: 0o660, group: 'Users' });
    const rights = rightsOf(address);
    for (const entry of ['(D;;FA;;;NU)', '(A;;FA;;;SY)', '(A;;FA;;;BA)', '(A;;0x12019f;;;BU)'])
      expect(rights).toContain(entry);
  });

  test('is not opened for a group that there is not', async () => {
    const server = net.createServer();
    const opening = listenOnPipe(server, address, { mode: 0o660, group: 'no-such-group' });
    await expect(opening).rejects.toThrow("no user or group 'no-such-group'");
    expect(server.listening).toBe(false);
  });
});
