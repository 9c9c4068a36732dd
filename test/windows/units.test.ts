/** Unit tests that Bun for Windows runs too: those that need no modes of files, no Unix sockets and no shell. */
import { expect, test } from 'bun:test';
import { Windows } from '../support/windows.ts';

const PLACES = [
  'cluster',
  'config/derived.test.ts',
  'daemon/reload.test.ts',
  'db/errors.test.ts',
  'http',
  'lib/backoff.test.ts',
  'lib/duration.test.ts',
  'lib/errors.test.ts',
  'lib/host-port.test.ts',
  'lib/jsonl.test.ts',
  'lib/metrics.test.ts',
  'lib/shell-words.test.ts',
  'lib/sleep.test.ts',
  'operations',
  'platform/places.test.ts',
  'platform/windows-event-log.test.ts',
  'platform/windows-install.test.ts',
  'platform/windows-pipe.test.ts',
  'platform/windows-security.test.ts',
  'rpc',
  'tls/crl.test.ts',
  'tls/expiry.test.ts',
  'tls/identity.test.ts',
  'tls/init.test.ts',
  'tls/issue.test.ts',
];

test('the unit tests pass on Windows', async () => {
  await using windows = new Windows();
  const { code, stderr } = await windows.bun(
    'test',
    '--timeout=180000',
    ...PLACES.map((place) => `./test/unit/${place}`),
  );
  expect({ code, failed: stderr.match(/^\(fail\).*$/gm) }).toEqual({ code: 0, failed: null });
  expect(Number(/^\s*(\d+) pass$/m.exec(stderr)?.[1])).toBeGreaterThan(300);
}, 300_000);
