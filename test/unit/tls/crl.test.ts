import { describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as fc from 'fast-check';
import { crlsIn, isCrlOf } from '../../../src/tls/crl.ts';
import { pemBlocks, toPem } from '../../../src/tls/pem.ts';
import { NodeFolder, openssl, runOpenssl, TestCa } from './certificates.ts';

describe('a CRL', () => {
  test('is read: who made it, when, until when, and whom it revokes', async () => {
    const ca = await TestCa.make('ca');
    const [crl] = crlsIn(await ca.crl(['0a', '00ff01', '7f'.repeat(16)], { until: 2 }));
    expect(crl?.serials).toEqual(['a', 'ff01', '7f'.repeat(16)]);
    expect(crl && isCrlOf(crl, new X509Certificate(ca.pem))).toBe(true);
    expect(crl && crl.thisUpdate < new Date() && (crl.nextUpdate ?? 0) > new Date()).toBe(true);
    expect(crl?.pem).toStartWith('-----BEGIN X509 CRL-----');
  });

  test('belongs to the CA that signed it only', async () => {
    const [ca, namesake] = await Promise.all([TestCa.make('ca'), TestCa.make('ca')]);
    const [crl] = crlsIn(await ca.crl([]));
    expect(crl && isCrlOf(crl, new X509Certificate(namesake.pem))).toBe(false);
  });

  test.skipIf(openssl === null).each([
    ['EC', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['RSA', ['rsa:2048']],
    ['Ed25519', ['ed25519']],
  ])('is read when openssl made it, %s', (_kind, newkey) => {
    using folder = new NodeFolder();
    const make = (...args: string[]): string => runOpenssl(folder.path, ...args);
    make(
      'req',
      '-x509',
      '-newkey',
      ...newkey,
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-subj',
      '/CN=o',
    );
    folder.write('index.txt', 'R\t350101000000Z\t260101000000Z\t55DD58\tunknown\t/CN=node-b\n');
    folder.write(
      'cnf',
      '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=default\ndefault_crl_days=30\n',
    );
    make('ca', '-config', 'cnf', '-gencrl', '-cert', 'ca.crt', '-keyfile', 'ca.key', '-out', 'crl.pem');
    const [crl] = crlsIn(readFileSync(path.join(folder.path, 'crl.pem'), 'utf8'));
    expect(crl?.serials).toEqual(['55dd58']);
    expect(crl && isCrlOf(crl, new X509Certificate(readFileSync(folder.files.ca_file)))).toBe(true);
  });

  test('that is damaged is an error, never a hang or a wrong answer about somebody else’s', async () => {
    const ca = await TestCa.make('ca');
    const certificate = new X509Certificate(ca.pem);
    const [{ der } = { der: Buffer.alloc(0) }] = pemBlocks(await ca.crl(['0a', '0b']), 'CRL');
    const position = fc.nat(der.length - 1);
    fc.assert(
      fc.property(position, fc.nat(255), position, (at, byte, cut) => {
        const damaged = Buffer.from(der);
        fc.pre(damaged[at] !== byte);
        damaged[at] = byte;
        for (const bytes of [damaged, der.subarray(0, cut)]) {
          let serials: string[];
          try {
            const [crl] = crlsIn(toPem('X509 CRL', bytes));
            if (crl === undefined || !isCrlOf(crl, certificate)) continue;
            serials = crl.serials;
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
            continue;
          }
          expect(serials).toEqual(['a', 'b']);
        }
      }),
      { numRuns: 500, examples: [[5, 60, 0]] },
    );
  });
});
