import { describe, expect, test } from 'bun:test';
import { SteepError } from '../../../src/lib/errors.ts';
import { explainTlsError, isAboutPeer } from '../../../src/tls/explain.ts';
import type { CertificateFacts } from '../../../src/tls/facts.ts';
import { DAY } from './certificates.ts';

const now = new Date('2026-06-15T12:00:00Z');
const peer: CertificateFacts = {
  subject: 'CN=node-b',
  issuer: 'CN=their CA',
  sans: ['DNS:db2'],
  serial: '01',
  notBefore: new Date(now.getTime() - 10 * DAY),
  notAfter: new Date(now.getTime() - 3 * DAY),
  fingerprint: 'AB',
  nodeId: 'node-b',
};
const context = { address: 'db2:5433', now };

function coded(code: string): Error {
  return Object.assign(new Error(`the library’s words for ${code}`), { code });
}

describe('an error of the handshake is told in words', () => {
  test.each([
    ['CERT_HAS_EXPIRED', 'db2:5433: its certificate expired 3 days ago'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'db2:5433: its certificate was signed by another CA (CN=their CA)'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'db2:5433: its certificate was signed by another CA (CN=their CA)'],
    ['CERT_REVOKED', 'db2:5433: its certificate was revoked'],
    ['INVALID_PURPOSE', 'db2:5433: its certificate may not be used for this'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'db2:5433: its certificate is for other hosts: DNS:db2'],
  ])('about the other side’s certificate: %s', (code, message) => {
    const explained = explainTlsError(coded(code), { ...context, peer });
    expect(explained).toMatchObject({ code: 'FAILED', message });
    expect(explained.hint).toBeDefined();
    expect(isAboutPeer(coded(code))).toBe(true);
  });

  test.each([
    ['CERT_HAS_EXPIRED', 'db2:5433: its certificate expired'],
    ['CERT_NOT_YET_VALID', 'db2:5433: its certificate is not yet valid'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'db2:5433: its certificate was signed by another CA'],
  ])('also without that certificate: %s', (code, message) => {
    expect(explainTlsError(coded(code), context).message).toBe(message);
  });

  test('with the date from which on it is valid', () => {
    const tomorrow = {
      ...peer,
      notBefore: new Date(now.getTime() + DAY),
      notAfter: new Date(now.getTime() + 2 * DAY),
    };
    expect(explainTlsError(coded('CERT_NOT_YET_VALID'), { ...context, peer: tomorrow }).message).toBe(
      'db2:5433: its certificate is not valid before 2026-06-16T12:00:00Z (in 1 day)',
    );
  });

  test.each([
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'db2:5433 refuses our certificate CN=node-b: it does not know our CA'],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'db2:5433 refuses our certificate CN=node-b: it has expired'],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED', 'db2:5433 refuses our certificate CN=node-b: it was revoked'],
    ['ERR_SSL_TLSV1_ALERT_CERTIFICATE_REQUIRED', 'db2:5433: demands a certificate, and we have sent none'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'db2:5433: demands a certificate, and we have sent none'],
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'db2:5433: the other side has no TLS 1.3'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'db2:5433: the other side speaks no TLS'],
    ['ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL', 'db2:5433: the other side speaks no HTTP/2'],
  ])('about ours, or no common language: %s', (code, message) => {
    expect(explainTlsError(coded(code), { ...context, own: peer }).message).toBe(message);
    expect(isAboutPeer(coded(code))).toBe(false);
  });

  test('with the code that decides the exit code', () => {
    expect(explainTlsError(coded('ECONNREFUSED'), context).code).toBe('CANNOT_CONNECT');
    expect(explainTlsError(coded('ETIMEDOUT'), context).code).toBe('TIMEOUT');
  });

  test('when others have wrapped it', () => {
    const wrapped = new Error('rpc', { cause: new Error('http2', { cause: coded('CERT_REVOKED') }) });
    expect(explainTlsError(wrapped, context).message).toEndWith('was revoked');
    const ours = new SteepError('FAILED', 'node-b answers as node-c');
    expect(explainTlsError(new Error('rpc', { cause: ours }), context)).toBe(ours);
  });

  test('and what nobody foresaw keeps the words of the library', () => {
    expect(explainTlsError(coded('ERR_SSL_NEVER_HEARD_OF'), context).message).toContain('NEVER_HEARD_OF');
    expect(explainTlsError(undefined, context).message).toContain('the TLS handshake failed');
    const circle: Error = new Error('a');
    circle.cause = circle;
    expect(explainTlsError(circle, context).message).toEndWith('failed: a');
  });
});
