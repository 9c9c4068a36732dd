/** Who may do what on Windows: accounts, and the access rights of files and pipes in Windows' own notation (SDDL). */
import { createHash } from 'node:crypto';
import { FFIType, type Pointer } from 'bun:ffi';
import { SteepError } from '../lib/errors.ts';
import { kernel32, library, pointerIn, textAt, wide, windowsError } from './windows-api.ts';

const { i32, u32 } = FFIType;
const p = FFIType.ptr;

const advapi32 = library('advapi32.dll', {
  CheckTokenMembership: { args: [p, p, p], returns: i32 },
  ConvertSecurityDescriptorToStringSecurityDescriptorW: { args: [p, u32, u32, p, p], returns: i32 },
  ConvertSidToStringSidW: { args: [p, p], returns: i32 },
  ConvertStringSidToSidW: { args: [p, p], returns: i32 },
  ConvertStringSecurityDescriptorToSecurityDescriptorW: { args: [p, u32, p, p], returns: i32 },
  GetNamedSecurityInfoW: { args: [p, i32, u32, p, p, p, p, p], returns: u32 },
  GetSecurityDescriptorDacl: { args: [p, p, p, p], returns: i32 },
  GetSecurityDescriptorOwner: { args: [p, p, p], returns: i32 },
  GetTokenInformation: { args: [p, i32, p, u32, p], returns: i32 },
  LookupAccountNameW: { args: [p, p, p, p, p, p, p], returns: i32 },
  OpenProcessToken: { args: [FFIType.i64_fast, u32, p], returns: i32 },
  SetKernelObjectSecurity: { args: [FFIType.i64_fast, u32, p], returns: i32 },
  SetNamedSecurityInfoW: { args: [p, i32, u32, p, p, p, p], returns: u32 },
});

const SDDL_REVISION = 1;
const OWNER = 1;
const DACL = 4;
const PROTECTED_DACL = 0x8000_0000;
const UNPROTECTED_DACL = 0x2000_0000;
const FILE_OBJECT = 1;

/** The security id of the account that Windows makes for a service: it follows from the name alone. */
export function serviceSid(service: string): string {
  const hash = createHash('sha1').update(Buffer.from(service.toUpperCase(), 'utf16le')).digest();
  return `S-1-5-80-${[0, 4, 8, 12, 16].map((at) => hash.readUInt32LE(at)).join('-')}`;
}

/** The security id of a user or group. Throws CONFIG_INVALID when nobody has that name. */
export function accountSid(name: string): string {
  const sid = Buffer.alloc(68); // SECURITY_MAX_SID_SIZE
  const domain = Buffer.alloc(1024);
  const sizes = [sid.length, domain.length / 2].map((size) => Buffer.from(new Uint32Array([size]).buffer));
  const [sidSize = null, domainSize = null] = sizes;
  const use = Buffer.alloc(4);
  if (!advapi32().LookupAccountNameW(null, wide(name), sid, sidSize, domain, domainSize, use)) {
    const reason = windowsError(`no user or group '${name}'`).message;
    throw new SteepError('CONFIG_INVALID', reason, {
      hint: 'write it as NAME, MACHINE\\NAME or DOMAIN\\NAME',
    });
  }
  const text = Buffer.alloc(8);
  if (!advapi32().ConvertSidToStringSidW(sid, text)) throw windowsError(`the security id of ${name}`);
  return takeText(text);
}

const TOKEN_QUERY = 8;
const TOKEN_USER = 1;

/** The security id of the user that this process runs as. */
export function ownSid(): string {
  const token = Buffer.alloc(8);
  if (!advapi32().OpenProcessToken(kernel32().GetCurrentProcess(), TOKEN_QUERY, token))
    throw windowsError('the token of this process');
  try {
    const user = Buffer.alloc(256); // a pointer to the id, which follows
    const { GetTokenInformation, ConvertSidToStringSidW } = advapi32();
    const text = Buffer.alloc(8);
    if (
      !GetTokenInformation(pointerIn(token, 0), TOKEN_USER, user, user.length, Buffer.alloc(4)) ||
      !ConvertSidToStringSidW(pointerIn(user, 0), text)
    )
      throw windowsError('the user of this process');
    return takeText(text);
  } finally {
    kernel32().CloseHandle(pointerIn(token, 0));
  }
}

const ADMINISTRATORS = 'S-1-5-32-544';

/** Whether this process has an administrator's rights in force: without elevation it has the group, but for refusals only. */
export function isAdministrator(): boolean {
  const sid = Buffer.alloc(8);
  if (!advapi32().ConvertStringSidToSidW(wide(ADMINISTRATORS), sid)) return false;
  const member = Buffer.alloc(4);
  const answered = advapi32().CheckTokenMembership(null, pointerIn(sid, 0), member);
  kernel32().LocalFree(pointerIn(sid, 0));
  return answered !== 0 && member.readUInt32LE() !== 0;
}

/** The owner of a file or folder: a security id, or Windows' abbreviation such as `BA`. Throws PERMISSION_DENIED, FAILED. */
export function ownerOf(path: string): string {
  return securityOf(path, OWNER).slice('O:'.length);
}

/** The access rights of a file or folder, `D:…`. Throws PERMISSION_DENIED, FAILED. */
export function rightsOf(path: string): string {
  return securityOf(path, DACL);
}

function securityOf(path: string, what: number): string {
  const pointer = Buffer.alloc(8);
  const { GetNamedSecurityInfoW, ConvertSecurityDescriptorToStringSecurityDescriptorW: convert } = advapi32();
  const code = GetNamedSecurityInfoW(wide(path), FILE_OBJECT, what, null, null, null, null, pointer);
  if (code !== 0) throw windowsError(`the access rights of ${path}`, code);
  const descriptor = pointerIn(pointer, 0);
  try {
    const text = Buffer.alloc(8);
    if (!convert(descriptor, SDDL_REVISION, what, text, null))
      throw windowsError(`the access rights of ${path}`);
    return takeText(text);
  } finally {
    kernel32().LocalFree(descriptor);
  }
}

/**
 * Sets access rights, `D:…`, for what lies below too as far as it inherits, and with `O:…` before them the owner.
 * Throws PERMISSION_DENIED, FAILED.
 */
export function setRights(path: string, sddl: string): void {
  withDescriptor(sddl, (descriptor) => {
    const { GetSecurityDescriptorOwner, GetSecurityDescriptorDacl, SetNamedSecurityInfoW } = advapi32();
    const [ownerPointer, listPointer, flag] = [Buffer.alloc(8), Buffer.alloc(8), Buffer.alloc(4)];
    if (
      !GetSecurityDescriptorOwner(descriptor, ownerPointer, flag) ||
      !GetSecurityDescriptorDacl(descriptor, Buffer.alloc(4), listPointer, flag)
    )
      throw windowsError(`access rights '${sddl}'`);
    const owner = pointerIn(ownerPointer, 0);
    const list = pointerIn(listPointer, 0);
    // No list at all would let everybody in.
    if (list === null) throw new SteepError('INTERNAL_ERROR', `access rights '${sddl}': no list`);
    const inheritance = sddl.includes('D:P') ? PROTECTED_DACL : UNPROTECTED_DACL;
    const what = DACL + inheritance + (owner === null ? 0 : OWNER);
    const code = SetNamedSecurityInfoW(wide(path), FILE_OBJECT, what, owner, null, list, null);
    if (code !== 0) throw windowsError(`setting the access rights of ${path}`, code);
  });
}

/** Sets those of an open pipe. */
export function setHandleRights(handle: number | bigint, sddl: string, what: string): void {
  withDescriptor(sddl, (descriptor) => {
    if (!advapi32().SetKernelObjectSecurity(handle, DACL, descriptor))
      throw windowsError(`setting the access rights of ${what}`);
  });
}

function withDescriptor(sddl: string, use: (descriptor: Pointer | null) => void): void {
  const descriptor = Buffer.alloc(8);
  const convert = advapi32().ConvertStringSecurityDescriptorToSecurityDescriptorW;
  if (!convert(wide(sddl), SDDL_REVISION, descriptor, null)) throw windowsError(`access rights '${sddl}'`);
  try {
    use(pointerIn(descriptor, 0));
  } finally {
    kernel32().LocalFree(pointerIn(descriptor, 0));
  }
}

/** The text that a function allocated for us. */
function takeText(pointer: Buffer): string {
  const at = pointerIn(pointer, 0);
  const text = textAt(at);
  kernel32().LocalFree(at);
  return text;
}

/** Everyone, users, who logged on, services, all services: groups that a service's account is in. */
const GROUPS_OF_SERVICES = new Set(['WD', 'BU', 'AU', 'SU', 'S-1-5-80-0']);
const READ_RIGHTS = /FA|GA|FR|GR/;
const READ_MASK = 0x12_0089;

/** Whether rights let the account of a service read. Refusals are not looked at: nobody writes them for services. */
export function letsRead(sddl: string, sid: string): boolean {
  return [...sddl.matchAll(/\(A;([^;]*);([^;]*);;;([^;)]+)\)/g)].some(
    ([, flags = '', rights = '', who = '']) => {
      if (flags.includes('IO') || (who !== sid && !GROUPS_OF_SERVICES.has(who))) return false;
      return rights.startsWith('0x')
        ? (Number(rights) & READ_MASK) === READ_MASK
        : READ_RIGHTS.test(rights.match(/../g)?.join(' ') ?? '');
    },
  );
}
