import { describe, expect, test } from 'bun:test';
import { linux } from '../../../src/platform/linux.ts';
import { macos } from '../../../src/platform/macos.ts';
import { windows } from '../../../src/platform/windows.ts';

describe('on Linux', () => {
  const home = { HOME: '/home/ann' };

  test('the folders are those of the XDG base directories', () => {
    expect(linux.configDirs(home)).toEqual({ system: '/etc/steep', user: '/home/ann/.config/steep' });
    expect(linux.stateBases(home)).toEqual({
      system: '/var/lib/steep-repl',
      user: '/home/ann/.local/state/steep-repl',
    });
    expect(linux.runtimeDirs({ ...home, XDG_RUNTIME_DIR: '/run/user/7' })).toEqual({
      system: '/run/steep-repl',
      user: '/run/user/7/steep-repl',
    });
  });

  test('absolute XDG variables win, relative and empty ones do not count', () => {
    const given = { ...home, XDG_CONFIG_HOME: '/cfg/', XDG_STATE_HOME: '/state' };
    expect(linux.configDirs(given).user).toBe('/cfg/steep');
    expect(linux.stateBases(given).user).toBe('/state/steep-repl');
    const wrong = { ...home, XDG_CONFIG_HOME: 'cfg', XDG_STATE_HOME: '' };
    expect(linux.configDirs(wrong).user).toBe('/home/ann/.config/steep');
    expect(linux.stateBases(wrong).user).toBe('/home/ann/.local/state/steep-repl');
  });

  test('there are no user folders without a home', () => {
    for (const env of [{}, { HOME: '' }]) {
      expect(linux.configDirs(env).user).toBeUndefined();
      expect(linux.stateBases(env).user).toBeUndefined();
    }
  });
});

describe('on macOS', () => {
  test('the folders are below Application Support', () => {
    const env = { HOME: '/Users/ann', XDG_CONFIG_HOME: '/ignored', XDG_STATE_HOME: '/ignored' };
    expect(macos.configDirs(env)).toEqual({
      system: '/Library/Application Support/steep',
      user: '/Users/ann/Library/Application Support/steep',
    });
    expect(macos.stateBases(env)).toEqual({
      system: '/Library/Application Support/steep/state',
      user: '/Users/ann/Library/Application Support/steep/state',
    });
    expect(macos.configDirs({}).user).toBeUndefined();
    expect(macos.runtimeDirs(env)).toEqual({ system: undefined, user: undefined });
  });
});

describe('on Windows', () => {
  test('the folders are those of the variables, written with backslashes', () => {
    const env = {
      PROGRAMDATA: String.raw`D:\Data`,
      APPDATA: String.raw`C:\Users\ann\AppData\Roaming`,
      LOCALAPPDATA: String.raw`C:\Users\ann\AppData\Local`,
      HOME: '/ignored',
    };
    expect(windows.configDirs(env)).toEqual({
      system: String.raw`D:\Data\steep`,
      user: String.raw`C:\Users\ann\AppData\Roaming\steep`,
    });
    expect(windows.stateBases(env)).toEqual({
      system: String.raw`D:\Data\steep\state`,
      user: String.raw`C:\Users\ann\AppData\Local\steep\state`,
    });
  });

  test('a service without variables still finds ProgramData, and no user', () => {
    expect(windows.configDirs({})).toEqual({ system: String.raw`C:\ProgramData\steep`, user: undefined });
    expect(windows.stateBases({}).user).toBeUndefined();
  });
});
