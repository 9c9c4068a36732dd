/** Run on Windows: prints what Windows shows of a file's version: `FILE NAME…`, one line for each name. */
import { dlopen, FFIType, type Pointer, read } from 'bun:ffi';

const { ptr, i32, u32 } = FFIType;
const [file = '', ...names] = process.argv.slice(2);
const { GetFileVersionInfoW, VerQueryValueW } = dlopen('version.dll', {
  GetFileVersionInfoW: { args: [ptr, u32, u32, ptr], returns: i32 },
  VerQueryValueW: { args: [ptr, ptr, ptr, ptr], returns: i32 },
}).symbols;
const wide = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf16le');

const info = Buffer.alloc(16_384);
if (!GetFileVersionInfoW(wide(file), 0, info.length, info)) throw new Error(`${file} has no version`);
for (const name of names) {
  const [at, length] = [Buffer.alloc(8), Buffer.alloc(4)];
  // English, Unicode
  if (!VerQueryValueW(info, wide(`\\StringFileInfo\\040904B0\\${name}`), at, length))
    throw new Error(`${file} has no ${name}`);
  const text = Number(at.readBigUInt64LE()) as Pointer;
  const units = Array.from({ length: length.readUInt32LE() - 1 }, (_, index) => read.u16(text, index * 2));
  console.log(String.fromCharCode(...units));
}
