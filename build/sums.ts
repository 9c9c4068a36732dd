import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Writes SHA256SUMS for files of a folder, as `sha256sum --check` reads it. */
export function writeSums(folder: string, files: readonly string[]): void {
  const lines = files.map((file) => {
    const sum = createHash('sha256').update(readFileSync(path.join(folder, file)));
    return `${sum.digest('hex')}  ${file}\n`;
  });
  writeFileSync(path.join(folder, 'SHA256SUMS'), lines.join(''));
}
