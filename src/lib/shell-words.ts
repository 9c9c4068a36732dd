/**
 * Splits a command line into words as a POSIX shell would, without running one: quotes and backslashes count,
 * nothing is expanded. What only a shell could do (pipes, variables) is refused rather than passed on as text.
 */

const ONLY_FOR_A_SHELL = new Set('|&;<>()$`\n');
/** Inside double quotes a backslash means itself before anything else. */
const ESCAPABLE_IN_DOUBLE_QUOTES = new Set('"\\$`');

export type ShellWords = { words: string[] } | { problem: string; hint: string };

/** The words of a command line, at least one; or why it has none, and what to write instead. */
export function splitShellWords(line: string): ShellWords {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let i = 0; i < line.length; i += 1) {
    const char = line.charAt(i);
    if (quote === "'") {
      if (char === "'") quote = undefined;
      else word += char;
      continue;
    }
    if (char === '\\') {
      const next = line.charAt(i + 1);
      if (next === '') return { problem: 'ends in a backslash', hint: 'remove it, or write it twice' };
      if (quote === '"' && !ESCAPABLE_IN_DOUBLE_QUOTES.has(next)) word += char;
      word = (word ?? '') + next;
      i += 1;
    } else if (quote === '"' && char === '"') {
      quote = undefined;
    } else if (char === '$' || char === '`' || (quote === undefined && ONLY_FOR_A_SHELL.has(char))) {
      return {
        problem: `has ${JSON.stringify(char)}, which only a shell understands, and no shell is run`,
        hint: "quote it, or write sh -c '…'",
      };
    } else if (quote === '"') {
      word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (char === ' ' || char === '\t') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== undefined) return { problem: `has no closing ${quote}`, hint: 'close the quote' };
  if (word !== undefined) words.push(word);
  return words.length === 0 || words[0] === ''
    ? { problem: 'names no program', hint: 'begin with the program to run' }
    : { words };
}
