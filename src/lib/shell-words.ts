/**
 * Splits a command line into words as a POSIX shell would, without running one: quotes and backslashes count,
 * nothing is expanded. What only a shell could do (pipes, variables) is refused rather than passed on as text.
 */

const ONLY_FOR_A_SHELL = new Set('|&;<>()$`\n');
/** Inside double quotes a backslash means itself before anything else. */
const ESCAPABLE_IN_DOUBLE_QUOTES = new Set('"\\$`');

/** The words of a command line, or `problem`: why it has none. */
export function splitShellWords(line: string): { words: string[] } | { problem: string } {
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
      if (next === '') return { problem: 'ends in a backslash' };
      if (quote === '"' && !ESCAPABLE_IN_DOUBLE_QUOTES.has(next)) word += char;
      word = (word ?? '') + next;
      i += 1;
    } else if (quote === '"' && char === '"') {
      quote = undefined;
    } else if (char === '$' || char === '`' || (quote === undefined && ONLY_FOR_A_SHELL.has(char))) {
      return { problem: `uses ${JSON.stringify(char)}, which only a shell understands, and no shell is run` };
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
  if (quote !== undefined) return { problem: `has no closing ${quote}` };
  if (word !== undefined) words.push(word);
  return words.length === 0 || words[0] === '' ? { problem: 'names no program' } : { words };
}
