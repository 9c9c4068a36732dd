import { expect, test } from 'bun:test';
import { CpuMeter } from '../../../src/lib/cpu-meter.ts';

test('the part of a core that was used since the last question: more when working than when waiting', async () => {
  const meter = new CpuMeter();
  const until = process.cpuUsage().user + 50_000;
  while (process.cpuUsage().user < until); // works, however long a busy machine lets it wait
  const working = meter.percent();
  await Bun.sleep(500);
  expect(working).toBeGreaterThan(meter.percent());
  expect(working).toBeGreaterThan(0);
});
