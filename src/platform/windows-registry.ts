/** Values below HKEY_LOCAL_MACHINE. */
import { FFIType } from 'bun:ffi';
import { library, wide, windowsError } from './windows-api.ts';

const { i64_fast, u32 } = FFIType;
const p = FFIType.ptr;

const advapi32 = library('advapi32.dll', {
  RegDeleteTreeW: { args: [i64_fast, p], returns: u32 },
  RegGetValueW: { args: [i64_fast, p, p, u32, p, p, p], returns: u32 },
  RegSetKeyValueW: { args: [i64_fast, p, p, u32, p, u32], returns: u32 },
});

const LOCAL_MACHINE = 0x8000_0002 - 2 ** 32; // a handle, sign-extended
const ANY_TYPE_UNEXPANDED = 0x1000_ffff;
const LARGEST = 4096;
const FILE_NOT_FOUND = 2;

export interface RegistryValue {
  name: string;
  /** As `reg add` writes it. */
  type: 'REG_DWORD' | 'REG_EXPAND_SZ' | 'REG_MULTI_SZ';
  data: string;
}

const TYPES = { REG_EXPAND_SZ: 2, REG_DWORD: 4, REG_MULTI_SZ: 7 } as const;

function bytesOf({ type, data }: RegistryValue): Buffer {
  switch (type) {
    case 'REG_DWORD':
      return Buffer.from(new Uint32Array([Number(data)]).buffer);
    case 'REG_MULTI_SZ':
      return wide(`${data}\0`);
    default:
      return wide(data);
  }
}

export function hasValue(key: string, value: RegistryValue): boolean {
  const data = Buffer.alloc(LARGEST);
  const size = Buffer.from(new Uint32Array([LARGEST]).buffer);
  const name = wide(value.name);
  const code = advapi32().RegGetValueW(LOCAL_MACHINE, wide(key), name, ANY_TYPE_UNEXPANDED, null, data, size);
  return code === 0 && data.subarray(0, size.readUInt32LE()).equals(bytesOf(value));
}

/** Makes the key too. Throws PERMISSION_DENIED, FAILED. */
export function setValue(key: string, value: RegistryValue): void {
  const data = bytesOf(value);
  const { RegSetKeyValueW } = advapi32();
  const code = RegSetKeyValueW(
    LOCAL_MACHINE,
    wide(key),
    wide(value.name),
    TYPES[value.type],
    data,
    data.length,
  );
  if (code !== 0) throw windowsError(`HKLM\\${key}`, code);
}

/** Nothing to do when it is not there. Throws PERMISSION_DENIED, FAILED. */
export function deleteKey(key: string): void {
  const code = advapi32().RegDeleteTreeW(LOCAL_MACHINE, wide(key));
  if (code !== 0 && code !== FILE_NOT_FOUND) throw windowsError(`HKLM\\${key}`, code);
}
