/** The Event Log of Windows: the source is registered at `install`, the service writes, `logs` reads by wevtutil. */
import { dlopen, FFIType, type Pointer } from 'bun:ffi';
import type { LogLevel } from '../lib/log.ts';
import { structure, wide } from './windows-api.ts';

const EVENT_ERROR = 1;
const EVENT_WARNING = 2;
const EVENT_INFORMATION = 4;

interface Kind {
  type: number;
  /** Tells debug from info, which are one type to Windows. EventCreate.exe has a text for 1 to 1000. */
  id: number;
}

const KINDS: Record<LogLevel, Kind> = {
  debug: { type: EVENT_INFORMATION, id: 4 },
  info: { type: EVENT_INFORMATION, id: 3 },
  warn: { type: EVENT_WARNING, id: 2 },
  error: { type: EVENT_ERROR, id: 1 },
};

/** ReportEvent takes no longer strings. */
const LONGEST = 31_839;

/** Opens the log for writing under a source. What cannot be written is lost: there is no one to tell. */
export function eventWriter(source: string): (line: string, level: LogLevel) => void {
  const p = FFIType.ptr;
  const { RegisterEventSourceW, ReportEventW } = dlopen('advapi32.dll', {
    RegisterEventSourceW: { args: [p, p], returns: p },
    ReportEventW: {
      args: [p, FFIType.u16, FFIType.u16, FFIType.u32, p, FFIType.u16, FFIType.u32, p, p],
      returns: FFIType.i32,
    },
  }).symbols;
  const handle = RegisterEventSourceW(null, wide(source)) as Pointer | null;
  return (line, level) => {
    const { type, id } = KINDS[level];
    const strings = structure(wide(line.trimEnd().slice(0, LONGEST)));
    ReportEventW(handle, type, 0, id, null, 1, 0, strings, null);
  };
}

export interface Event {
  /** Grows with every event of the machine. */
  record: number;
  time: Date;
  level: LogLevel;
  text: string;
}

/** The arguments with which wevtutil prints events as XML, newest first. */
export function queryArguments(
  source: string,
  { count, since, after }: { count: number; since: Date | undefined; after: number | undefined },
): string[] {
  const conditions = [
    `Provider[@Name='${source}']`,
    ...(since === undefined ? [] : [`TimeCreated[@SystemTime>='${since.toISOString()}']`]),
    ...(after === undefined ? [] : [`(EventRecordID>${after})`]),
  ];
  const query = `*[System[${conditions.join(' and ')}]]`;
  return ['qe', 'Application', `/q:${query}`, '/rd:true', `/c:${count}`, '/f:XML', '/uni:true'];
}

/** What that command printed, from old to new. Events that are not in our form are left out. */
export function parseEvents(output: Uint8Array): Event[] {
  // UTF-16, as was asked for; what is not has no zeros.
  const encoding = output.includes(0) ? 'utf-16le' : 'utf-8';
  const xml = new TextDecoder(encoding).decode(output);
  return [...xml.matchAll(/<Event[ >].*?<\/Event>/gs)]
    .flatMap(([event]) => parseEvent(event) ?? [])
    .toReversed();
}

function parseEvent(xml: string): Event | undefined {
  const record = Number(/<EventRecordID>(\d+)</.exec(xml)?.[1]);
  const time = new Date(/<TimeCreated SystemTime=["']([^"']+)["']/.exec(xml)?.[1] ?? '');
  const id = Number(/<EventID[^>]*>(\d+)</.exec(xml)?.[1]);
  const level = (Object.keys(KINDS) as LogLevel[]).find((name) => KINDS[name].id === id);
  const text = /<Data[^>]*>(.*?)<\/Data>/s.exec(xml)?.[1];
  if (Number.isNaN(record) || Number.isNaN(time.getTime()) || !level || text === undefined) return undefined;
  return { record, time, level, text: unescape(text) };
}

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function unescape(xml: string): string {
  return xml.replaceAll(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (entity, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(String(hex), 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return ENTITIES[String(name)] ?? entity;
  });
}
