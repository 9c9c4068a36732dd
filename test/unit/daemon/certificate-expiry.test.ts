import { expect, test } from 'bun:test';
import { ExpiryLog, expiryIssues } from '../../../src/daemon/certificate-expiry.ts';
import type { Logger } from '../../../src/lib/log.ts';
import { DAY, materialOf, TestCa } from '../tls/certificates.ts';

test('the end of a certificate is an issue from 30 days before, and logged once, and once more when it has come', async () => {
  const ca = await TestCa.make('ca');
  const found = materialOf(await ca.issue({ node: 'node-a' }), ca.pem);
  const end = found.certificate.notAfter.getTime();
  const logged: string[] = [];
  const note =
    (level: string) =>
    (message: string): void =>
      void logged.push(`${level}: ${message}`);
  const log = { warn: note('warn'), error: note('error') } as unknown as Logger;
  using expiry = new ExpiryLog(() => found, log);
  const at = (days: number): void => expiry.look(new Date(end - days * DAY));

  expect(expiryIssues(found, new Date(end - 31 * DAY))).toEqual([]);
  at(31);
  expect(logged).toEqual([]);
  for (const days of [29.9, 29.8, 20, 0.5]) at(days);
  expect(logged).toEqual(['warn: the certificate expires in 29 days']);
  at(-1.5);
  at(-2.5);
  expect(logged.slice(1)).toEqual(['error: the certificate expired 1 day ago']);
});
