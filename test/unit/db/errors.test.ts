import { describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { type AwayReason, awayFrom, fromPostgres, hintFor, lossFrom } from '../../../src/db/errors.ts';
import type { Target } from '../../../src/db/target.ts';
import { type ErrorCode, SteepError } from '../../../src/lib/errors.ts';

const target = { host: 'db1', port: 5433, database: 'app', user: 'ann', sslmode: 'prefer' } as Target;

/** What the client library throws for an error of the server. */
function serverError(code: string, message = 'words of the server'): Error {
  // Its types hide that the class takes the fields of the error.
  const Thrown = postgres.PostgresError as unknown as new (fields: object) => Error;
  return new Thrown({ code, message, severity: 'FATAL' });
}
const systemError = (code: string): Error =>
  Object.assign(new Error(`connect ${code} 10.0.0.1:5433`), { code });

describe('an attempt that fails', () => {
  test.each([
    ['57P01', 'unreachable'],
    ['57P02', 'unreachable'],
    ['57P03', 'starting'],
    ['53300', 'full'],
    ['28P01', 'refused'],
    ['28000', 'refused'],
    ['3D000', 'no_database'],
    ['42501', 'no_rights'],
    ['3F000', 'no_extension'],
    ['42P01', 'no_extension'],
    ['42883', 'no_extension'],
    ['25006', 'read_only'],
    ['XX000', 'unreachable'],
  ] as const)('with SQLSTATE %s means that PostgreSQL is %s, in the words of the server', (code, reason) => {
    expect(awayFrom(serverError(code), target)).toEqual({
      reason,
      message: 'words of the server',
      hint: hintFor(reason, target),
    });
  });

  test.each([
    ['ECONNREFUSED', 'connection refused'],
    ['ENOENT', 'no such socket'],
    ['EACCES', 'no right to use the socket'],
    ['EHOSTUNREACH', 'host unreachable'],
    ['ENOTFOUND', 'unknown host'],
    ['EAI_AGAIN', 'the host name cannot be looked up now'],
    ['ECONNRESET', 'the server closed the connection'],
    ['CONNECTION_CLOSED', 'the server closed the connection'],
    ['CONNECTION_DESTROYED', 'the server closed the connection'],
  ])('by %s has words that stay the same from attempt to attempt', (code, message) => {
    expect(awayFrom(systemError(code), target)).toEqual({
      reason: 'unreachable',
      message,
      hint: 'is PostgreSQL running?  pg_isready -h db1 -p 5433',
    });
  });

  test.each([
    ['PERMISSION_DENIED', 'refused'],
    ['CANNOT_CONNECT', 'tls'],
    ['CONFIG_INVALID', 'tls'],
    ['TIMEOUT', 'unreachable'],
    ['NOT_CONNECTED', 'unreachable'],
  ] as const)('with our own %s means %s', (code, reason) => {
    expect(awayFrom(new SteepError(code, 'ours', { hint: 'do this' }), target)).toEqual({
      reason,
      message: 'ours',
      hint: 'do this',
    });
  });

  test('in a way that nobody foresaw is still told', () => {
    expect(awayFrom(new Error('odd'), target)).toMatchObject({ reason: 'unreachable', message: 'odd' });
    expect(awayFrom('odd', target).message).toBe('odd');
  });

  test('always has a remedy, which names what is configured', () => {
    const reasons: AwayReason[] = [
      'unreachable',
      'starting',
      'full',
      'refused',
      'tls',
      'no_database',
      'no_rights',
      'no_extension',
      'schema_too_old',
      'schema_too_new',
      'too_old',
      'read_only',
      'held',
    ];
    for (const reason of reasons) expect(hintFor(reason, target).length).toBeGreaterThan(10);
    expect(hintFor('no_rights', target)).toContain('--grant ann');
    expect(hintFor('no_database', target)).toContain('createdb -h db1 -p 5433 app');
  });
});

describe('a statement that fails', () => {
  test.each([
    ['23505', 'CONFLICT', undefined],
    ['22023', 'INVALID_REQUEST', undefined],
    ['57014', 'TIMEOUT', undefined],
    ['57P01', 'NOT_CONNECTED', 'unreachable'],
    ['53300', 'NOT_CONNECTED', 'full'],
    ['42501', 'NOT_CONNECTED', 'no_rights'],
    ['3F000', 'NOT_CONNECTED', 'no_extension'],
    ['25006', 'NOT_CONNECTED', 'read_only'],
    ['42P01', 'NOT_CONNECTED', 'no_extension'],
    ['08006', 'NOT_CONNECTED', undefined],
    ['53100', 'FAILED', undefined], // the server's disk is full
    ['42703', 'FAILED', undefined],
    ['40P01', 'FAILED', undefined],
    ['P0001', 'FAILED', undefined],
  ] as const)(
    'with SQLSTATE %s is %s, and a loss only where the server cannot be used',
    (sqlstate, code, loss) => {
      const thrown = serverError(sqlstate);
      expect(fromPostgres(thrown, target)).toMatchObject({
        code: code as ErrorCode,
        message: 'words of the server',
      });
      expect(fromPostgres(thrown, target).cause).toBe(thrown);
      expect(lossFrom(thrown, target)?.reason).toBe(loss);
    },
  );

  test.each(['42501', '42P01', '42883', '25006'])(
    'with SQLSTATE %s on a server that can be used is FAILED: nobody else would tell of it',
    (sqlstate) => {
      const { code, hint } = fromPostgres(serverError(sqlstate), target, true);
      expect(code).toBe('FAILED');
      expect(hint).toBeString();
    },
  );

  test('because its socket broke is NOT_CONNECTED and names the server', () => {
    for (const code of [
      'ECONNRESET',
      'EPIPE',
      'CONNECTION_CLOSED',
      'CONNECTION_DESTROYED',
      'CONNECTION_ENDED',
    ])
      expect(fromPostgres(systemError(code), target)).toMatchObject({
        code: 'NOT_CONNECTED',
        message: 'db1:5433/app: the server closed the connection',
      });
  });

  test('by our own fault stays a defect', () => {
    const defect = new TypeError('x is not a function');
    expect(fromPostgres(defect, target)).toMatchObject({ code: 'INTERNAL_ERROR', cause: defect });
    expect(lossFrom(defect, target)).toBeUndefined();
  });
});
