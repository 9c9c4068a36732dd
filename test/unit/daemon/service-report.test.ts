import { describe, expect, test } from 'bun:test';
import { ServiceReport } from '../../../src/daemon/service-report.ts';
import type { Subject } from '../../../src/operations/subject.ts';
import type { ServiceHost } from '../../../src/platform/index.ts';
import { waitFor } from '../../support/wait.ts';

/** A service manager that writes down what it hears. */
function listening(watchdogMs: number | undefined): { host: ServiceHost; heard: string[] } {
  const heard: string[] = [];
  const host: ServiceHost = {
    ready: () => heard.push('ready'),
    status: (text) => heard.push(text),
    reloading: () => heard.push('reloading'),
    stopping: () => heard.push('stopping'),
    alive: () => heard.push('alive'),
    watchdogMs,
    log: undefined,
    ended: (code) => code,
  };
  return { host, heard };
}

const witness = { database: undefined } as Subject;

describe('the service manager', () => {
  test('hears that the daemon is ready, how it is, and again and again that it lives', async () => {
    const { host, heard } = listening(5);
    using report = new ServiceReport(host, witness);
    report.reloading();
    report.reloaded();
    expect(heard).toEqual([]); // it would seem to be ready
    report.ready();
    expect(heard).toEqual(['ready', 'Witness']);
    report.reloading();
    report.reloaded();
    expect(heard.slice(2)).toEqual(['reloading', 'ready']);
    await waitFor(() => heard.filter((word) => word === 'alive').length >= 3, 'signs of life');
    report.stopping();
    const before = heard.length;
    expect(heard.at(-1)).toBe('stopping');
    await waitFor(() => heard.length > before, 'signs of life during the stop');
    expect(new Set(heard.slice(before))).toEqual(new Set(['alive']));
  });

  test('that does not watch hears no signs of life, and none comes after the end', async () => {
    const { host, heard } = listening(undefined);
    const report = new ServiceReport(host, witness);
    report.ready();
    report[Symbol.dispose]();
    await Bun.sleep(20);
    expect(heard).toEqual(['ready', 'Witness']);
  });
});
