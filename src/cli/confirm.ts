/** Destructive commands show what will happen and ask; without a terminal they want `--yes`. */
import { createInterface } from 'node:readline/promises';
import { SteepError } from '../lib/errors.ts';

export const yesArg = { type: 'boolean', alias: 'y', description: 'Do not ask' } as const;

/** Throws INVALID_REQUEST when nobody can be asked, FAILED when the answer is no. */
export async function confirm(what: string, yes: boolean | undefined): Promise<void> {
  if (!yes) await ask(what, 'Go on? [y/N] ', (answer) => /^y(es)?$/i.test(answer));
}

/** As `confirm`, where a slip of the finger must not do. */
export async function confirmByTyping(what: string, word: string, yes: boolean | undefined): Promise<void> {
  if (!yes) await ask(what, `Type ${word} to go on: `, (answer) => answer === word);
}

async function ask(what: string, question: string, agrees: (answer: string) => boolean): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new SteepError('INVALID_REQUEST', `${what} This must be confirmed.`, {
      hint: 'without a terminal to ask on:  --yes',
    });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${what}\n${question}`);
    if (!agrees(answer.trim())) throw new SteepError('FAILED', 'nothing was done');
  } finally {
    terminal.close();
  }
}
