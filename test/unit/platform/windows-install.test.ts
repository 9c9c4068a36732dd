/** What wine does not keep: the recovery actions, by the layout that Windows documents. */
import { read } from 'bun:ffi';
import { expect, test } from 'bun:test';
import { pointerIn } from '../../../src/platform/windows-api.ts';
import { SETTINGS } from '../../../src/platform/windows-install.ts';

test('Windows is told to restart what failed after a second, each time', () => {
  const { value, matches } = SETTINGS.find(({ title }) => title.startsWith('sc.exe failure '))!;
  // SERVICE_FAILURE_ACTIONSW: reset period, reboot message, command, number of actions, actions
  expect(value.length).toBe(40);
  expect([value.readUInt32LE(0), value.readBigUInt64LE(8), value.readBigUInt64LE(16)]).toEqual([
    86_400,
    0n,
    0n,
  ]);
  expect(value.readUInt32LE(24)).toBe(1); // the last one counts for all further failures
  const actions = pointerIn(value, 32)!;
  const [restart, afterMs] = [read.u32(actions, 0), read.u32(actions, 4)];
  expect([restart, afterMs]).toEqual([1, 1000]);

  expect(matches(value)).toBe(true);
  for (const offset of [0, 24]) {
    const other = Buffer.from(value);
    other.writeUInt32LE(0, offset);
    expect(matches(other)).toBe(false);
  }
});
