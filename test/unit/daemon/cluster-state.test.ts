/** The file that a node votes by: what it did not write itself, it does not believe. */
import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { clusterStateFile } from '../../../src/daemon/cluster-state.ts';
import { SteepError } from '../../../src/lib/errors.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'cluster-'));
const file = path.join(folder, 'cluster.json');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(file, { force: true });
  const { read, write } = clusterStateFile(folder);
  write({ ...read(), term: 12, vote: { node_id: 'node-b', instance_id: 'i' }, longest_promise: 3000 });
});

function refusal(): SteepError {
  try {
    clusterStateFile(folder).read();
  } catch (error) {
    if (error instanceof SteepError) return error;
    throw error;
  }
  throw new Error('it was believed');
}

test('is read as it was written, however it is indented', () => {
  const before = clusterStateFile(folder).read();
  expect(before).toMatchObject({
    term: 12,
    vote: { node_id: 'node-b', instance_id: 'i' },
    longest_promise: 3000,
  });
  writeFileSync(file, JSON.stringify(JSON.parse(readFileSync(file, 'utf8'))));
  expect(clusterStateFile(folder).read()).toEqual(before);
});

describe('is refused, by name and with a remedy,', () => {
  test.each([
    ['a term', '"term": 12', '"term": 92'],
    ['a vote', '"node_id": "node-b"', '"node_id": "node-c"'],
    ['a promise', '"longest_promise": 3000', '"longest_promise": -1'],
    ['a key that a newer program may write', '"format": 1', '"format": 1, "more": true'],
  ])('when %s is not what was written', (_what, written, found) => {
    const text = readFileSync(file, 'utf8');
    expect(text).toContain(written);
    writeFileSync(file, text.replace(written, found));
    expect(refusal()).toMatchObject({ code: 'FAILED', hint: expect.stringContaining('backup') });
    expect(refusal().message).toContain(`${file} cannot be understood: its checksum`);
  });

  test.each(['', 'null', '[]', '{}', '{"format": 1}', '\0'.repeat(300)])('when it holds %j', (text) => {
    writeFileSync(file, text);
    expect(refusal().code).toBe('FAILED');
    expect(refusal().message).toContain(file);
  });
});
