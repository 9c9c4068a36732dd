/** A private folder with a config.yaml, and a platform whose places lie in it. */
import { afterAll, beforeAll } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type LoadedConfig, loadConfig } from '../../../src/config/load.ts';
import { type Env, type Platform, thisPlatform } from '../../../src/platform/index.ts';

export interface ConfigFixture {
  root: string;
  home: string;
  /** The file that `write` makes and `load` reads. */
  file: string;
  /** Its places are `home/.config/steep` and `root/etc/steep`; its user is `someone`, unprivileged. */
  platform: Platform;
  write(text: string | Uint8Array): void;
  load(env?: Env): LoadedConfig;
  /** Loads the text and returns the message of its refusal, file names without the folder; '' if it loads. */
  refusal(text: string | Uint8Array, env?: Env): string;
}

/** Call at the top of a test file; the folder is made before its tests and removed after them. */
export function configFixture(): ConfigFixture {
  const root = mkdtempSync(path.join(realpathSync(tmpdir()), 'steep-config-'));
  const home = path.join(root, 'home');
  const file = path.join(root, 'own', 'config.yaml');
  const platform: Platform = {
    ...thisPlatform(),
    configDirs: (env) => ({
      system: path.join(root, 'etc/steep'),
      user: env['HOME'] ? path.join(env['HOME'], '.config/steep') : undefined,
    }),
    stateBases: (env) => ({
      system: path.join(root, 'var/lib/steep-repl'),
      user: env['HOME'] ? path.join(env['HOME'], '.local/state/steep-repl') : undefined,
    }),
    currentUser: () => ({ name: 'someone', uid: 1000, privileged: false }),
  };
  beforeAll(() => {
    for (const folder of ['own', 'etc/steep', 'home/.config/steep'])
      mkdirSync(path.join(root, folder), { recursive: true, mode: 0o700 });
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const fixture: ConfigFixture = {
    root,
    home,
    file,
    platform,
    write(text) {
      writeFileSync(file, text);
      chmodSync(file, 0o600);
    },
    load: (env = { HOME: home }) => loadConfig({ path: file, env, platform }),
    refusal(text, env) {
      fixture.write(text);
      try {
        fixture.load(env);
        return '';
      } catch (error) {
        return (error as Error).message.replaceAll(`${path.dirname(file)}/`, '');
      }
    },
  };
  return fixture;
}
