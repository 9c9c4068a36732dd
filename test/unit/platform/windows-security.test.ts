import { describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deleteKey, hasValue, setValue } from '../../../src/platform/windows-registry.ts';
import {
  accountSid,
  isAdministrator,
  letsRead,
  ownerOf,
  ownSid,
  rightsOf,
  serviceSid,
  setRights,
} from '../../../src/platform/windows-security.ts';

const SERVICE = serviceSid('steep-repl');

test('the security id of a service is the one that Windows computes', () => {
  expect(serviceSid('TrustedInstaller')).toBe(
    'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464',
  );
});

describe('the account of a service may read', () => {
  test.each([
    ['what its id may', `O:BAD:P(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;${SERVICE})`],
    ['what users may', 'O:BAG:BAD:AI(A;ID;0x1200a9;;;BU)'],
    ['what those who logged on may change', 'D:(A;;0x1301bf;;;AU)'],
    ['what everybody may, told in words', 'D:(A;;FRFX;;;WD)'],
    ['what all services may', 'D:(A;;GA;;;S-1-5-80-0)'],
  ])('%s', (_what, sddl) => {
    expect(letsRead(sddl, SERVICE)).toBe(true);
  });
});

describe('the account of a service may not read', () => {
  test.each([
    ['what is for others', 'O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-1001)'],
    ['what it may only run or write', `D:(A;;FX;;;BU)(A;;0x100116;;;${SERVICE})`],
    ['what only files to come allow', 'D:(A;OICIIO;FA;;;BU)'],
    ['what is refused', 'D:(D;;FA;;;BU)'],
  ])('%s', (_what, sddl) => {
    expect(letsRead(sddl, SERVICE)).toBe(false);
  });
});

describe.skipIf(process.platform !== 'win32')('on Windows', () => {
  test('accounts have their ids, and unknown ones are named', () => {
    expect(accountSid('SYSTEM')).toBe('S-1-5-18');
    expect(accountSid('Administrators')).toBe('S-1-5-32-544');
    expect(ownSid()).toMatch(/^S-1-5-21-/);
    expect(isAdministrator()).toBe(true); // as tests run
    expect(() => accountSid('nobody-of-that-name')).toThrow("no user or group 'nobody-of-that-name'");
  });

  // What comes of rights, only a person on Windows can see: wine has the modes of Unix instead.
  test('rights are told in the notation in which they are set, or why not', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rights-'));
    try {
      expect(ownerOf(folder)).toBe(ownSid());
      expect(rightsOf(folder)).toMatch(/^D:.*\(A;[^)]*\)$/);
      setRights(folder, `${rightsOf(folder)}(A;;0x1200a9;;;${SERVICE})`);
      setRights(folder, 'O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)');
      expect(() => rightsOf(path.join(folder, 'none'))).toThrow(/none: .+ \(Windows error 2\)/);
      expect(() => setRights(folder, 'nonsense')).toThrow("access rights 'nonsense'");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('values of the registry are set, compared and removed', () => {
    const key = String.raw`SOFTWARE\steep-repl-test`;
    const value = { name: 'Words', type: 'REG_MULTI_SZ', data: 'one' } as const;
    expect(hasValue(key, value)).toBe(false);
    setValue(key, value);
    setValue(key, { name: 'Number', type: 'REG_DWORD', data: '7' });
    expect(hasValue(key, value)).toBe(true);
    expect(hasValue(key, { ...value, data: 'two' })).toBe(false);
    expect(hasValue(key, { name: 'Number', type: 'REG_DWORD', data: '7' })).toBe(true);
    deleteKey(key);
    deleteKey(key);
    expect(hasValue(key, value)).toBe(false);
  });
});
