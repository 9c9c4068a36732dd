/**
 * What no output may show. Daemons of tests are given a password that can be recognised; whatever they and the tests
 * print, and what they leave in their folders, is searched for it and for private keys.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Every secret text of a test that shall be hunted contains this. */
export const SECRET_MARK = 'steep-test-secret';
/** In the environment of every daemon. */
export const PASSWORD = `${SECRET_MARK}-pgpassword`;

const TRACES: Record<string, RegExp> = {
  'a password': new RegExp(SECRET_MARK),
  'a private key': /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  // How each PKCS #8 key on the curve P-256 begins, for output without the lines around it.
  'the body of a private key': /MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0w/,
};

/** Where it stands, with a few letters before it; undefined: nowhere. */
export function secretIn(text: string): string | undefined {
  for (const [what, pattern] of Object.entries(TRACES)) {
    const { index } = pattern.exec(text) ?? {};
    if (index !== undefined)
      return `${what} after ${JSON.stringify(text.slice(Math.max(0, index - 100), index))}`;
  }
  return undefined;
}

/** Throws when there is one. */
export function refuseSecrets(texts: Record<string, string>): void {
  for (const [where, text] of Object.entries(texts)) {
    const found = secretIn(text);
    if (found !== undefined) throw new Error(`${where} shows ${found}`);
  }
}

/** The files below a folder, as texts by their paths; none if it is not there. */
export function textsBelow(folder: string): Record<string, string> {
  let entries;
  try {
    entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch {
    return {};
  }
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
  return Object.fromEntries(files.map((file) => [file, readFileSync(file, 'latin1')]));
}
