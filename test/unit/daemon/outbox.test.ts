import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Outbox } from '../../../src/daemon/outbox.ts';
import type { DaemonEvent, OwedEvent } from '../../../src/db/audit-log.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'outbox-'));
const file = path.join(folder, 'outbox.jsonl');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { recursive: true });
});

const open = (limit = 1000): Outbox => new Outbox({ file, nodeId: 'n1', limit });
const event = (id: string): DaemonEvent => ({
  action: 'daemon.started',
  target_type: 'daemon',
  target_id: id,
});

/** Everything that is owed now. */
async function owed(outbox: Outbox): Promise<OwedEvent[]> {
  const all: OwedEvent[] = [];
  await outbox.drain((events) => {
    all.push(...events);
    return Promise.resolve();
  });
  return all;
}
const ids = (events: OwedEvent[]): string[] => events.map(({ target_id }) => target_id);

describe('the outbox', () => {
  test('gives an event back after the process ended, with the id and the time it had', async () => {
    const then = new Date('2026-01-02T03:04:05.678Z');
    const first = open();
    first.add(event('a'), then);
    first.add({ ...event('b'), new_value: { text: 'zwei\nZeilen "ä"' } });
    const second = open();
    expect(second.size).toBe(2);
    const [a, b] = await owed(second);
    expect(a).toMatchObject({ target_id: 'a', occurred_at: then.toISOString() });
    expect(b?.new_value).toEqual({ text: 'zwei\nZeilen "ä"' });
    expect((await owed(first)).map((one) => one.event_id)).toEqual([a!.event_id, b!.event_id]);
    expect(new Set([a!.event_id, b!.event_id]).size).toBe(2);
    expect(a!.event_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-/);
  });

  test('has an event on disk when add returns, in a file that nobody else may read', () => {
    open().add(event('a'));
    expect(readFileSync(file, 'utf8')).toContain('"target_id":"a"');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('is empty, for the next process too, once everything is stored', async () => {
    const outbox = open();
    for (const id of ['a', 'b']) outbox.add(event(id));
    expect(ids(await owed(outbox))).toEqual(['a', 'b']);
    expect(outbox.size).toBe(0);
    expect(open().size).toBe(0);
  });

  test('forgets a torn last line, and no event that is added after it', async () => {
    open().add(event('a'));
    appendFileSync(file, '{"event_id":"0000","action":"daemon.sto');
    const outbox = open();
    outbox.add(event('b'));
    expect(ids(await owed(open()))).toEqual(['a', 'b']);
  });

  test('ignores lines that are no events', async () => {
    open().add(event('a'));
    appendFileSync(file, 'null\n7\n[]\n{}\n"x"\n\n\u0000\u0000\u0000\n');
    expect(ids(await owed(open()))).toEqual(['a']);
  });

  test('offers all events of a failed delivery again, with the same ids, and those of a done one never', async () => {
    const outbox = open();
    for (let i = 0; i < 250; i++) outbox.add(event(String(i)));
    const offered: OwedEvent[][] = [];
    const failing = outbox.drain((events) => {
      offered.push([...events]);
      return offered.length === 2 ? Promise.reject(new Error('away')) : Promise.resolve();
    });
    expect(await failing.catch((error: Error) => error.message)).toBe('away');
    expect(outbox.size).toBe(150);
    // The process may end here.
    const again = await owed(open());
    expect(again.map((one) => one.event_id).slice(0, 100)).toEqual(offered[1]!.map((one) => one.event_id));
    expect(ids(again)).toEqual(Array.from({ length: 150 }, (_, i) => String(100 + i)));
  });

  test('keeps what is added while a delivery is under way', async () => {
    const outbox = open();
    outbox.add(event('a'));
    const seen: string[] = [];
    await outbox.drain((events) => {
      seen.push(...ids(events));
      if (seen.length === 1) outbox.add(event('b'));
      expect(
        ids(JSON.parse(`[${readFileSync(file, 'utf8').trim().split('\n').join(',')}]`) as OwedEvent[]),
      ).toContain('b');
      return Promise.resolve();
    });
    expect(seen).toEqual(['a', 'b']);
  });
});

describe('an outbox that is full', () => {
  test('keeps the oldest events, counts the others in one of its own, and stays bounded', async () => {
    const outbox = open(10);
    for (let i = 0; i < 500; i++) outbox.add(event(String(i)));
    expect(outbox.size).toBe(11);
    expect(readFileSync(file, 'utf8').length).toBeLessThan(4000);
    const events = await owed(open(10));
    expect(ids(events)).toEqual([...Array.from({ length: 10 }, (_, i) => String(i)), 'n1']);
    expect(events.at(-1)).toMatchObject({
      action: 'audit.overflowed',
      success: false,
      new_value: { dropped: 490 },
    });
  });

  test('counts on after a restart', async () => {
    for (let i = 0; i < 15; i++) open(10).add(event(String(i)));
    expect((await owed(open(10))).at(-1)).toMatchObject({ new_value: { dropped: 5 } });
  });

  test('counts every event, also those that come while the count is being delivered', async () => {
    const outbox = open(3);
    for (let i = 0; i < 5; i++) outbox.add(event(String(i)));
    let dropped = 0;
    let rounds = 0;
    await outbox.drain((events) => {
      // What is sent is what the object says when it is sent.
      const sent = structuredClone(events);
      if (rounds++ === 0) for (let i = 5; i < 9; i++) outbox.add(event(String(i)));
      for (const one of sent)
        if (one.action === 'audit.overflowed') dropped += Number(one.new_value!['dropped']);
      return Promise.resolve();
    });
    expect(dropped).toBe(2 + 4);
    expect(outbox.size).toBe(0);
  });

  test('takes events again when it has been emptied', async () => {
    const outbox = open(2);
    for (let i = 0; i < 5; i++) outbox.add(event(String(i)));
    await owed(outbox);
    outbox.add(event('later'));
    expect(ids(await owed(open(2)))).toEqual(['later']);
  });
});

describe('an outbox on a full disk', () => {
  /** Runs a script with an outbox in a process whose files may not grow beyond 64 blocks of 512 bytes. */
  function onFullDisk(body: string): string {
    const script = `
      const { Outbox } = await import(${JSON.stringify(path.resolve(import.meta.dir, '../../../src/daemon/outbox.ts'))});
      const outbox = new Outbox({ file: ${JSON.stringify(file)}, nodeId: 'n1' });
      const event = (id, size = 0) => ({ action: 'daemon.started', target_type: 'daemon', target_id: id, new_value: { x: 'x'.repeat(size) } });
      const attempt = (id, size) => { try { outbox.add(event(id, size)); console.log(id, 'ok'); } catch (error) { console.log(id, error.code); } };
      ${body}`;
    const { stdout, stderr } = Bun.spawnSync([
      'sh',
      '-c',
      'trap "" XFSZ; ulimit -S -f 64; exec "$@"',
      'sh',
      process.execPath,
      '-e',
      script,
    ]);
    return stdout.toString() + stderr.toString();
  }

  test('says so, keeps the event in memory, and loses neither it nor those that follow', async () => {
    const said = onFullDisk(`
      attempt('a', 100);
      attempt('too-much', 100_000);
      const seen = [];
      outbox.drain(async (events) => seen.push(...events.map((e) => e.target_id))).then(() => {
        console.log(seen.join(' '));
        attempt('b', 100);
        attempt('c', 100);
      });`);
    expect(said).toBe('a ok\ntoo-much EFBIG\na too-much\nb ok\nc ok\n');
    expect(ids(await owed(open()))).toEqual(['b', 'c']);
  });

  test('is not done before its file says that nothing is owed: it is written again when there is room', async () => {
    const said = onFullDisk(`
      attempt('a', 100);
      const before = await outbox.drain(async () => {
        Bun.spawnSync(['prlimit', '--pid', String(process.pid), '--fsize=0:']);
        attempt('b', 100);
      }).catch((error) => error.code);
      console.log(before, outbox.size, outbox.empty);
      Bun.spawnSync(['prlimit', '--pid', String(process.pid), '--fsize=unlimited:']);
      await outbox.drain(async () => {});
      console.log(outbox.size, outbox.empty);`);
    expect(said).toBe('a ok\nb EFBIG\nEFBIG 1 false\n0 true\n');
    expect(ids(await owed(open()))).toEqual([]);
  });

  test('loses no event to the torn line that an earlier one left, once there is room again', async () => {
    const said = onFullDisk(`
      attempt('a', 100);
      attempt('too-much', 100_000);
      Bun.spawnSync(['prlimit', '--pid', String(process.pid), '--fsize=unlimited']);
      attempt('b', 100);
      attempt('c', 100);`);
    expect(said).toBe('a ok\ntoo-much EFBIG\nb ok\nc ok\n');
    expect(ids(await owed(open()))).toEqual(['a', 'too-much', 'b', 'c']);
  });
});
