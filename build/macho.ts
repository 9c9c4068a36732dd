/**
 * Ad-hoc signatures of executables for macOS, which runs nothing on arm64 without one. What Bun leaves behind is right
 * for arm64 and stale for x64: both are signed again, and what was written is checked anew from the file.
 *
 * A signature is a list of hashes, one for each page of 4096 bytes before it; numbers in it are big-endian, those of
 * the file around it little-endian.
 */
import { createHash } from 'node:crypto';

const MAGIC_64 = 0xfeedfacf;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const SUPER_BLOB = 0xfade0cc0;
const CODE_DIRECTORY = 0xfade0c02;
/** With the fields for the bounds of the executable segment. */
const VERSION = 0x20400;
const HEADER = 88;
const AD_HOC = 0x2;
const LINKER_SIGNED = 0x20000;
const SHA256 = 2;
const HASH = 32;
const PAGE = 4096;
const MAIN_BINARY = 1n;

interface Parts {
  /** Where the load commands of signature and last segment stand. */
  signature: number;
  linkedit: number;
  text: { offset: bigint; size: bigint };
}

/** The same executable with a new signature in place of the one that it has. */
export function signed(file: Uint8Array, identifier: string): Buffer {
  const parts = read(file);
  const source = Buffer.from(file);
  const limit = source.readUInt32LE(parts.signature + 8);
  const directoryLength = HEADER + identifier.length + 1 + Math.ceil(limit / PAGE) * HASH;
  const length = 20 + directoryLength;
  const room = Math.ceil(length / 16) * 16;

  const out = Buffer.alloc(limit + room);
  source.copy(out, 0, 0, limit);
  out.writeUInt32LE(room, parts.signature + 12);
  const size = limit + room - Number(source.readBigUInt64LE(parts.linkedit + 40));
  out.writeBigUInt64LE(BigInt(size), parts.linkedit + 48);
  out.writeBigUInt64LE(BigInt(Math.ceil(size / 0x4000) * 0x4000), parts.linkedit + 32);

  writeWords(out, limit, [SUPER_BLOB, length, 1, 0, 20]);
  writeDirectory(out, limit, parts.text, identifier);
  return out;
}

function writeDirectory(out: Buffer, limit: number, text: Parts['text'], identifier: string): void {
  const at = limit + 20;
  const name = Buffer.from(`${identifier}\0`);
  const hashes = HEADER + name.length;
  const pages = Math.ceil(limit / PAGE);
  const flags = AD_HOC | LINKER_SIGNED;
  writeWords(out, at, [
    CODE_DIRECTORY,
    hashes + pages * HASH,
    VERSION,
    flags,
    hashes,
    HEADER,
    0,
    pages,
    limit,
  ]);
  out.set([HASH, SHA256, 0, Math.log2(PAGE)], at + 36);
  out.writeBigUInt64BE(text.offset, at + 64);
  out.writeBigUInt64BE(text.size, at + 72);
  out.writeBigUInt64BE(MAIN_BINARY, at + 80);
  name.copy(out, at + HEADER);
  for (let page = 0; page < pages; page++) hashOf(out, page, limit).copy(out, at + hashes + page * HASH);
}

/** What is wrong with the signature of an executable; undefined: nothing. */
export function signatureFault(file: Uint8Array): string | undefined {
  const source = Buffer.from(file);
  const { signature } = read(file);
  const offset = source.readUInt32LE(signature + 8);
  const room = source.readUInt32LE(signature + 12);
  if (offset + room !== source.length)
    return `the signature ends at ${offset + room} of ${source.length} bytes`;
  if (source.readUInt32BE(offset) !== SUPER_BLOB) return 'there is no signature where the header says';
  const at = offset + source.readUInt32BE(offset + 16);
  if (source.readUInt32BE(at) !== CODE_DIRECTORY)
    return 'the signature does not begin with its list of hashes';
  if ((source.readUInt32BE(at + 12) & AD_HOC) === 0) return 'it is not signed ad hoc';
  const limit = source.readUInt32BE(at + 32);
  if (limit !== offset) return `the hashes cover ${limit} of ${offset} bytes`;
  const pages = source.readUInt32BE(at + 28);
  if (pages !== Math.ceil(limit / PAGE)) return `there are ${pages} hashes for ${limit} bytes`;
  const hashes = at + source.readUInt32BE(at + 16);
  for (let page = 0; page < pages; page++) {
    const stored = source.subarray(hashes + page * HASH, hashes + (page + 1) * HASH);
    if (!stored.equals(hashOf(source, page, limit))) return `page ${page} is not what was signed`;
  }
  return undefined;
}

/** The processor that it is for, as the header says: x64, arm64. */
export function processorOf(file: Uint8Array): string {
  const type = Buffer.from(file.subarray(0, 8)).readUInt32LE(4);
  return { 0x01000007: 'x64', 0x0100000c: 'arm64' }[type] ?? `0x${type.toString(16)}`;
}

function read(file: Uint8Array): Parts {
  const source = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (source.readUInt32LE(0) !== MAGIC_64) throw new Error('not an executable for macOS with one processor');
  let signature: number | undefined;
  let linkedit: number | undefined;
  let text: Parts['text'] | undefined;
  let at = 32;
  for (let left = source.readUInt32LE(16); left > 0; left--) {
    const command = source.readUInt32LE(at);
    const name = source.toString('latin1', at + 8, at + 24).replace(/\0.*$/s, '');
    if (command === LC_CODE_SIGNATURE) signature = at;
    if (command === LC_SEGMENT_64 && name === '__LINKEDIT') linkedit = at;
    if (command === LC_SEGMENT_64 && name === '__TEXT')
      text = { offset: source.readBigUInt64LE(at + 40), size: source.readBigUInt64LE(at + 48) };
    at += source.readUInt32LE(at + 4);
  }
  if (signature === undefined || linkedit === undefined || text === undefined)
    throw new Error('it has no room for a signature');
  return { signature, linkedit, text };
}

function hashOf(file: Buffer, page: number, limit: number): Buffer {
  const bytes = file.subarray(page * PAGE, Math.min((page + 1) * PAGE, limit));
  return createHash('sha256').update(bytes).digest();
}

function writeWords(out: Buffer, at: number, words: number[]): void {
  for (const [index, word] of words.entries()) out.writeUInt32BE(word, at + 4 * index);
}
