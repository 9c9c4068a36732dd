import { expect, test } from 'bun:test';
import { parseEvents, queryArguments } from '../../../src/platform/windows-event-log.ts';

/** As wevtutil prints: one event after another, newest first, without a root. */
function event(record: number, id: number, text: string): string {
  return [
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>",
    `<Provider Name='steep-repl'/><EventID Qualifiers='0'>${id}</EventID><Version>0</Version><Level>4</Level>`,
    `<TimeCreated SystemTime='2026-11-23T20:45:2${record}.1234567Z'/><EventRecordID>${record}</EventRecordID>`,
    `<Channel>Application</Channel></System><EventData><Data>${text}</Data></EventData></Event>`,
  ].join('');
}

const OUTPUT = `${event(3, 1, 'daemon: a &lt;b&gt; &amp;amp; &#x263A;\nhint: c')}\r\n${event(2, 3, 'daemon: ready')}\r\n`;
const EVENTS = [
  { record: 2, level: 'info', text: 'daemon: ready' },
  { record: 3, level: 'error', text: 'daemon: a <b> &amp; ☺\nhint: c' },
];

test('events come out from old to new, with level, time and text', () => {
  const found = parseEvents(Buffer.from(OUTPUT, 'utf16le'));
  expect(found).toMatchObject(EVENTS);
  expect(found[0]?.time.toISOString()).toBe('2026-11-23T20:45:22.123Z');
});

test('the output is understood in UTF-16 with and without a byte order mark, and in UTF-8', () => {
  expect(parseEvents(Buffer.from(`\uFEFF${OUTPUT}`, 'utf16le'))).toMatchObject(EVENTS);
  expect(parseEvents(Buffer.from(OUTPUT))).toMatchObject(EVENTS);
  expect(parseEvents(Buffer.from(''))).toEqual([]);
});

test('what others wrote under our name is left out', () => {
  expect(parseEvents(Buffer.from(event(1, 100, 'by eventcreate.exe')))).toEqual([]);
  expect(parseEvents(Buffer.from('<Event><System></System></Event>'))).toEqual([]);
});

test('the query asks for our events only, and for those that are wanted', () => {
  const all = queryArguments('steep-repl', { count: 50, since: undefined, after: undefined });
  expect(all).toContain("/q:*[System[Provider[@Name='steep-repl']]]");
  expect(all).toContain('/c:50');
  const since = new Date('2026-11-23T20:00:00Z');
  expect(queryArguments('steep-repl', { count: 1, since, after: 7 })).toContain(
    "/q:*[System[Provider[@Name='steep-repl'] and TimeCreated[@SystemTime>='2026-11-23T20:00:00.000Z'] and (EventRecordID>7)]]",
  );
});
