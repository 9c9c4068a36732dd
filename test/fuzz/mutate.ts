/** From something sensible to something that is not quite. */
import type { Random } from '../simulation/random.ts';

const BYTES = [0, 1, 9, 10, 13, 32, 34, 39, 45, 58, 92, 127, 128, 192, 255];

/** `text` or bytes with a few places changed; `others`: what parts may be taken from. */
export function damaged(random: Random, bytes: Buffer, others: readonly Buffer[] = []): Buffer {
  let result = bytes;
  for (let count = 1 + random.below(4); count > 0; count -= 1) result = once(random, result, others);
  return result;
}

function once(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(random.chance(0.2) ? bytes.length + 1 : 8));
  const with_ = (middle: Buffer, until = at): Buffer =>
    Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(until)]);
  switch (random.below(others.length > 0 ? 8 : 7)) {
    case 0:
      return with_(Buffer.alloc(0), end);
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return with_(bytes.subarray(at, end)); // twice
    case 3:
      return with_(Buffer.from([random.of(BYTES)]), Math.min(bytes.length, at + 1));
    case 4:
      return with_(Buffer.from([random.below(256)]));
    case 5: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = flipped[at]! ^ (1 << random.below(8));
      return flipped;
    }
    case 6:
      return with_(noise(random, random.below(32)));
    default: {
      const other = random.of(others);
      const from = random.below(other.length + 1);
      return with_(other.subarray(from, from + random.below(other.length - from + 1)), end);
    }
  }
}

export function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

/** A text with whole lines or words of it changed, so that more of it still makes sense. */
export function reworded(random: Random, text: string, words: readonly string[]): string {
  let lines = text.split('\n');
  for (let count = 1 + random.below(4); count > 0; count -= 1) {
    const at = random.below(lines.length);
    const line = lines[at] ?? '';
    switch (random.below(6)) {
      case 0:
        lines = lines.toSpliced(at, 1);
        break;
      case 1:
        lines = lines.toSpliced(random.below(lines.length + 1), 0, line);
        break;
      case 2:
        lines[at] = random.chance(0.5) ? ` ${line}` : line.slice(1);
        break;
      case 3:
        lines[at] = line.replace(/(:\s*)(.*)$/, (_all, colon: string) => colon + random.of(words));
        break;
      case 4:
        lines[at] = `${line.slice(0, random.below(line.length + 1))}${random.of(words)}`;
        break;
      default: {
        const parts = line.split(/(\W+)/);
        parts[random.below(parts.length)] = random.of(words);
        lines[at] = parts.join('');
      }
    }
  }
  return lines.join('\n');
}
