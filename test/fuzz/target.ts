/** What is thrown at one door or file of the program, and how it is judged. */
import type { Random } from '../simulation/random.ts';

/** Named parts, such as the files that are read together; each is cut down by itself when one is found that fails. */
export type Input = Record<string, Buffer>;

export interface Target extends AsyncDisposable {
  generate(random: Random): Input;
  /** Throws what is wrong with what came of this input. */
  check(input: Input): Promise<void>;
  /** Throws what is wrong with the program after it, as others see it. */
  settle?(): Promise<void>;
  /** How many inputs at once; default: one after the other. */
  parallel?: number;
}

export type OpenTarget = () => Promise<Target>;

export function fail(message: string): never {
  throw new Error(message);
}
