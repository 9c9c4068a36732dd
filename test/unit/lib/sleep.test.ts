import { expect, test } from 'bun:test';
import { sleep } from '../../../src/lib/sleep.ts';

test('sleep waits as long as it is told', async () => {
  const began = performance.now();
  await sleep(50, new AbortController().signal);
  expect(performance.now() - began).toBeGreaterThanOrEqual(45);
});

test('sleep ends at once when the signal fires, or has fired already', async () => {
  const controller = new AbortController();
  const began = performance.now();
  setTimeout(() => controller.abort(), 20);
  await sleep(60_000, controller.signal);
  await sleep(60_000, controller.signal);
  expect(performance.now() - began).toBeLessThan(10_000);
});

test('sleep leaves no listener on a signal that lives as long as the process', async () => {
  const controller = new AbortController();
  const listeners: unknown[] = [];
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (type: string, listener: () => void) => {
    listeners.push(listener);
    add(type, listener);
  };
  signal.removeEventListener = (type: string, listener: () => void) => {
    listeners.splice(listeners.indexOf(listener), 1);
    remove(type, listener);
  };
  for (let i = 0; i < 10; i++) await sleep(1, signal);
  expect(listeners).toEqual([]);
});
