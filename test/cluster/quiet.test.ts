import { expect, setDefaultTimeout, test } from 'bun:test';
import { quietUnderLoad } from './quiet.ts';

setDefaultTimeout(120_000);

test('load on all cores changes no status and no coordinator (an hour of it: npm run bench quiet)', async () => {
  expect(await quietUnderLoad(20_000)).toEqual([]);
});
