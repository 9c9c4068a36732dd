/** The smallest input that still fails, by leaving out ever smaller pieces of each part. */
import type { Input } from './target.ts';

/** `fails` is asked `tries` times at most. */
export async function shrunk(
  input: Input,
  fails: (input: Input) => Promise<boolean>,
  tries: number,
): Promise<Input> {
  let best = input;
  for (const part of Object.keys(input)) {
    for (
      let piece = Math.ceil(input[part]!.length / 2);
      piece >= 1;
      piece = piece === 1 ? 0 : Math.ceil(piece / 2)
    )
      for (let at = 0; at < best[part]!.length && tries > 0;) {
        const bytes = best[part]!;
        const fewer = { ...best, [part]: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + piece)]) };
        tries -= 1;
        if (await fails(fewer)) best = fewer;
        else at += piece;
      }
  }
  return best;
}

/** As a line that can be read, and copied into a test. */
export function shown(input: Input): string {
  return Object.entries(input)
    .map(([part, bytes]) => `${part}: ${JSON.stringify(bytes.toString('latin1'))}`)
    .join('\n  ');
}
