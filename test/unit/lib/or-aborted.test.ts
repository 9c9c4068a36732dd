import { expect, test } from 'bun:test';
import { orAborted } from '../../../src/lib/sleep.ts';

test('orAborted gives the value or the error that comes before the signal', async () => {
  const { signal } = new AbortController();
  expect(await orAborted(Promise.resolve(1), signal)).toBe(1);
  expect(
    await orAborted(Promise.reject(new Error('no')), signal).catch((error: Error) => error.message),
  ).toBe('no');
});

test('orAborted gives undefined when the signal comes first, and swallows what comes later', async () => {
  const controller = new AbortController();
  const late = Promise.withResolvers<number>();
  const outcome = orAborted(late.promise, controller.signal);
  controller.abort();
  expect(await outcome).toBeUndefined();
  late.reject(new Error('too late'));
  await Bun.sleep(1);
  expect(await orAborted(new Promise(() => {}), controller.signal)).toBeUndefined();
});
