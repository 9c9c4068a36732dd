import { expect, test } from 'bun:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { fromConnectError } from '../../../src/rpc/errors.ts';

test.each([
  [Code.Aborted, 'CANNOT_CONNECT'],
  [Code.Canceled, 'CANNOT_CONNECT'],
  [Code.Unavailable, 'CANNOT_CONNECT'],
  [Code.DeadlineExceeded, 'TIMEOUT'],
  [Code.Internal, 'FAILED'],
] as const)('what a call ended with, %p, is %s: whether it is tried again depends on it', (code, ours) => {
  expect(fromConnectError('db2:5433', new ConnectError('why', code), undefined)).toMatchObject({
    code: ours,
    message: 'db2:5433: why',
  });
});
