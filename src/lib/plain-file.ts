import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/**
 * The text of a regular file. Throws system errors, and for anything else of that name: a FIFO, say, would keep the
 * reader waiting for as long as whoever put it there likes.
 */
export function readPlainFile(file: string): string {
  const fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    if (!fstatSync(fd).isFile()) throw new Error('it is no regular file');
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}
